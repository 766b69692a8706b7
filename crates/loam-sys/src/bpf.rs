//! Small extended BPF programs that decide which devices a version 2 cgroup may use (bpf(2)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const MOVE_REGISTER: u8 = 0xbc; // BPF_ALU | BPF_MOV | BPF_X
const MOVE_VALUE: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const AND_VALUE: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const JUMP_IF_EQUAL: u8 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_UNLESS_EQUAL: u8 = 0x55; // BPF_JMP | BPF_JNE | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

/// One instruction, `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    code: u8,
    /// The destination in the lower half and the source in the upper on little-endian machines.
    registers: u8,
    offset: i16,
    value: i32,
}

impl Instruction {
    fn new(code: u8, destination: u8, source: u8, offset: i16, value: i32) -> Self {
        let registers = if cfg!(target_endian = "little") {
            source << 4 | destination
        } else {
            destination << 4 | source
        };
        Self { code, registers, offset, value }
    }

    /// Loads 32 bits of memory that a register points to.
    pub fn load_word(destination: u8, source: u8, offset: i16) -> Self {
        Self::new(LOAD_WORD, destination, source, offset, 0)
    }

    /// Copies the lower 32 bits of a register.
    pub fn move_register(destination: u8, source: u8) -> Self {
        Self::new(MOVE_REGISTER, destination, source, 0, 0)
    }

    /// Sets a register.
    pub fn move_value(destination: u8, value: i32) -> Self {
        Self::new(MOVE_VALUE, destination, 0, 0, value)
    }

    /// Keeps the bits of the value in the lower 32 bits of a register.
    pub fn and_value(destination: u8, value: i32) -> Self {
        Self::new(AND_VALUE, destination, 0, 0, value)
    }

    /// Shifts the lower 32 bits of a register to the right.
    pub fn shift_right(destination: u8, bits: i32) -> Self {
        Self::new(SHIFT_RIGHT, destination, 0, 0, bits)
    }

    /// Leaves out instructions when a register equals a value.
    pub fn jump_if_equal(register: u8, value: i32, over: i16) -> Self {
        Self::new(JUMP_IF_EQUAL, register, 0, over, value)
    }

    /// Leaves out instructions when a register differs from a value.
    pub fn jump_unless_equal(register: u8, value: i32, over: i16) -> Self {
        Self::new(JUMP_UNLESS_EQUAL, register, 0, over, value)
    }

    /// Ends the program; register 0 is the answer.
    pub fn exit() -> Self {
        Self::new(EXIT, 0, 0, 0, 0)
    }

    fn destination(self) -> usize {
        usize::from(if cfg!(target_endian = "little") { self.registers & 15 } else { self.registers >> 4 })
    }

    fn source(self) -> usize {
        usize::from(if cfg!(target_endian = "little") { self.registers >> 4 } else { self.registers & 15 })
    }
}

/// Runs a program as the kernel would, on a context of 32-bit words. `None` when it does not end with an answer.
///
/// This is for tests: the programs are made from rules, and the kernel runs them only when a device is opened.
pub fn interpret(program: &[Instruction], context: &[u32]) -> Option<u32> {
    let mut registers = [0u32; 11];
    let mut at = 0usize;
    for _ in 0..=program.len() {
        let step = *program.get(at)?;
        let (destination, value) = (step.destination(), step.value.cast_unsigned());
        at += 1;
        let over = usize::try_from(step.offset).ok()?;
        match step.code {
            LOAD_WORD => registers[destination] = *context.get(over / 4)?,
            MOVE_REGISTER => registers[destination] = registers[step.source()],
            MOVE_VALUE => registers[destination] = value,
            AND_VALUE => registers[destination] &= value,
            SHIFT_RIGHT => registers[destination] >>= value,
            JUMP_IF_EQUAL if registers[destination] == value => at += over,
            JUMP_UNLESS_EQUAL if registers[destination] != value => at += over,
            JUMP_IF_EQUAL | JUMP_UNLESS_EQUAL => {}
            EXIT => return Some(registers[0]),
            _ => return None,
        }
    }
    None
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;
/// More programs on one cgroup than anybody has.
const MAX_PROGRAMS: usize = 64;

#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    replaced: u32,
}

#[repr(C)]
struct QueryAttributes {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    program_count: u32,
    padding: u32,
}

#[repr(C)]
struct ByIdAttributes {
    id: u32,
    next_id: u32,
    flags: u32,
}

/// Calls bpf(2). `attributes` must be one of the structures above, and what it points to must outlive the call.
fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<i32> {
    let size = size_of::<T>();
    // SAFETY: the kernel reads and writes at most `size` bytes at the pointer, which is a whole exclusive `T`; every
    // caller in this file keeps the buffers named inside it alive.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(i32::try_from(answer).unwrap_or(i32::MAX)) }
}

fn descriptor(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn owned(number: i32) -> OwnedFd {
    // SAFETY: the kernel just made this descriptor for us, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Loads a program for [`replace_cgroup_device`].
pub fn load_cgroup_device(program: &[Instruction]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let mut attributes = LoadAttributes {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    bpf(BPF_PROG_LOAD, &mut attributes).map(owned)
}

/// Makes a program the only one that decides on the devices of a cgroup. At no moment is there none, if there was one.
pub fn replace_cgroup_device(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let before = attached(cgroup)?;
    let mut attributes = AttachAttributes {
        target: descriptor(cgroup),
        program: descriptor(program),
        attach_type: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
        replaced: 0,
    };
    if let [only] = before.as_slice() {
        attributes.flags |= BPF_F_REPLACE;
        attributes.replaced = descriptor(std::os::fd::AsFd::as_fd(only));
        return bpf(BPF_PROG_ATTACH, &mut attributes).map(drop);
    }
    bpf(BPF_PROG_ATTACH, &mut attributes)?;
    for old in &before {
        attributes.program = descriptor(std::os::fd::AsFd::as_fd(old));
        attributes.flags = 0;
        bpf(BPF_PROG_DETACH, &mut attributes)?;
    }
    Ok(())
}

/// The programs that decide on the devices of a cgroup.
fn attached(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0u32; MAX_PROGRAMS];
    let mut attributes = QueryAttributes {
        target: descriptor(cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        program_ids: ids.as_mut_ptr() as u64,
        program_count: u32::try_from(MAX_PROGRAMS).map_err(io::Error::other)?,
        padding: 0,
    };
    bpf(BPF_PROG_QUERY, &mut attributes)?;
    let count = usize::try_from(attributes.program_count).map_err(io::Error::other)?;
    let by_id = |&id: &u32| {
        let mut attributes = ByIdAttributes { id, next_id: 0, flags: 0 };
        bpf(BPF_PROG_GET_FD_BY_ID, &mut attributes).map(owned)
    };
    ids[..count.min(MAX_PROGRAMS)].iter().map(by_id).collect()
}
