//! A small HTTP/1.1 server: one thread, one loop over poll(2), one request a connection. Every path answers with the
//! report. SIGTERM and SIGINT end it with 0.

mod connection;
mod listener;

use core::fmt::Write;

use crate::END;
use crate::ground::call::{self, SignalSet};
use crate::ground::socket::{self, POLLIN, Poll};
use crate::ground::start::Strings;
use crate::ground::text::Text;
use connection::Connection;

/// How many connections are served at once; one more lets the oldest go.
const MOST: usize = 32;
const FAILED: u8 = 1;

/// Serves until a signal asks to end; gives the exit code.
pub fn run(port: u16, environment: Strings) -> u8 {
    let ends = SignalSet::of(&END);
    call::set_signal_mask(ends);
    let prepared = listener::listen(port).and_then(|socket| Ok((socket, call::signal_descriptor(ends)?)));
    let (socket, signals) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            say(2, format_args!("hello: port {port} can't be listened at: {error}"));
            return FAILED;
        }
    };
    say(1, format_args!("hello: listening at port {port}"));
    let mut connections = [const { None::<Connection> }; MOST];
    loop {
        let mut polls = [Poll { fd: -1, events: 0, happened: 0 }; MOST + 2];
        polls[MOST] = Poll { fd: socket, events: POLLIN, happened: 0 };
        polls[MOST + 1] = Poll { fd: signals, events: POLLIN, happened: 0 };
        for (poll, connection) in polls.iter_mut().zip(&connections) {
            if let Some(connection) = connection {
                *poll = connection.poll();
            }
        }
        if socket::poll(&mut polls).is_err() {
            return FAILED;
        }
        if polls[MOST + 1].happened != 0 {
            return 0;
        }
        for (poll, place) in polls.iter().zip(&mut connections) {
            if poll.happened != 0
                && let Some(connection) = place
                && !connection.go_on(environment)
            {
                *place = None;
            }
        }
        if polls[MOST].happened != 0
            && let Ok((socket, peer)) = socket::accept(socket)
        {
            // A full house lets its first guest go: somebody who holds a connection open and says nothing.
            let free = connections.iter().position(Option::is_none).unwrap_or(0);
            connections[free] = Connection::new(socket, listener::peer(&peer)).ok();
        }
    }
}

/// Prints a line.
fn say(fd: i32, message: core::fmt::Arguments<'_>) {
    let mut buffer = [0; 512];
    let mut text = Text::new(&mut buffer);
    let _ = writeln!(text, "{message}");
    let _ = call::write_all(fd, text.as_bytes());
}
