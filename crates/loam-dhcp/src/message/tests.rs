use proptest::prelude::*;

use super::*;

fn reply() -> Message {
    let mut message = Message::of_client(kind::OFFER, 0x0102_0304, [2, 0, 0, 0, 0, 9]);
    message.sender = Sender::Server;
    message.yours = Ipv4Addr::new(10, 5, 0, 9);
    message.options.insert(option::SERVER, vec![10, 5, 0, 1]);
    message
}

/// A message whose options, of all three fields, are these bytes.
fn raw(options: &[u8], file: &[u8], name: &[u8]) -> Vec<u8> {
    let mut bytes = reply().encode();
    bytes.truncate(FIXED);
    bytes.extend([53, 1, 2]);
    bytes.extend(options);
    bytes[BOOT_FILE][..file.len()].copy_from_slice(file);
    bytes[SERVER_NAME][..name.len()].copy_from_slice(name);
    bytes
}

#[test]
fn a_message_is_read_as_it_was_written() {
    let mut message = reply();
    message.seconds = 7;
    message.broadcast = true;
    message.client = Ipv4Addr::new(10, 5, 0, 8);
    message.options.insert(option::HOST_NAME, vec![b'x'; 700]);
    message.options.insert(option::USER_CLASS, Vec::new());
    let bytes = message.encode();
    assert_eq!(Message::parse(&bytes), Ok(message));
    assert_eq!(reply().encode().len(), MIN_MESSAGE);
}

#[test]
fn options_go_on_in_the_fields_for_names() {
    // The order of RFC 3396: options, boot file, server name.
    let bytes = raw(&[52, 1, 3, 12, 1, b'a', 255], &[12, 1, b'b', 255, 9], &[0, 12, 1, b'c', 52, 1, 3, 255]);
    let message = Message::parse(&bytes).expect("a message");
    assert_eq!(message.options.get(&option::HOST_NAME).map(Vec::as_slice), Some(&b"abc"[..]));
    assert!(!message.options.contains_key(&option::OVERLOAD));
    // Fields that hold names are not looked at.
    let message = Message::parse(&raw(&[255], &[12, 1, b'b'], &[12, 1, b'c'])).expect("a message");
    assert_eq!(message.options.get(&option::HOST_NAME), None);
    // One that says that it holds options must.
    let broken = raw(&[52, 1, 1, 255], &[0; 126], &[]);
    assert!(Message::parse(&broken).is_ok());
    let mut file = [0; 128];
    file[127] = 12;
    assert_eq!(Message::parse(&raw(&[52, 1, 1, 255], &file, &[])), Err(MessageError::OptionTooLong(12)));
}

#[test]
fn what_is_no_message_is_refused() {
    let good = reply().encode();
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Message::parse(&bytes)
    };
    assert_eq!(Message::parse(&good[..239]), Err(MessageError::Truncated));
    assert_eq!(Message::parse(&[]), Err(MessageError::Truncated));
    assert_eq!(changed(0, 3), Err(MessageError::Operation));
    assert_eq!(changed(1, 6), Err(MessageError::Hardware));
    assert_eq!(changed(2, 16), Err(MessageError::Hardware));
    assert_eq!(changed(238, 0), Err(MessageError::Cookie));
    assert_eq!(Message::parse(&raw(&[12, 200, 1], &[], &[])), Err(MessageError::OptionTooLong(12)));
    assert_eq!(Message::parse(&raw(&[12], &[], &[])), Err(MessageError::OptionTooLong(12)));
    // A second type makes one of two bytes.
    assert_eq!(Message::parse(&raw(&[53, 1, 2], &[], &[])), Err(MessageError::Type));
    assert_eq!(Message::parse(&good[..240]), Err(MessageError::Type));
}

#[test]
fn words_of_a_server_are_fit_for_a_terminal() {
    let mut message = reply();
    assert_eq!(message.text(), None);
    message.options.insert(option::MESSAGE, b"no \x1b[2J lease\0".to_vec());
    assert_eq!(message.text().as_deref(), Some("no \\u{1b}[2J lease"));
    message.options.insert(option::MESSAGE, vec![b'x'; 5000]);
    assert_eq!(message.text().map(|text| text.len()), Some(255));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600), kept in 0..600_usize) {
        // From the start, and as what comes after a sound head.
        drop(Message::parse(&bytes));
        let mut whole = reply().encode();
        whole.truncate(FIXED);
        whole.extend(&bytes);
        whole.truncate(kept.max(1));
        if let Ok(message) = Message::parse(&whole) {
            let again = Message::parse(&message.encode()).expect("what was read can be written");
            prop_assert_eq!(again, message);
        }
    }
}
