use super::*;

const HARDWARE: [u8; 6] = [2, 0, 0, 0, 0, 9];
const SERVER: [u8; 6] = [2, 0, 0, 0, 0, 1];
const START: Moment = Duration::from_secs(1000);

fn random() -> u32 {
    // In the middle of the span of delays, and the number of every transaction.
    1000
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn identity() -> Identity {
    let options =
        vec![(option::CLIENT_IDENTIFIER, b"\0a/n/eth0".to_vec()), (option::REQUEST_LIST, vec![3, 1])];
    Identity { hardware: HARDWARE, options, broadcast: false }
}

fn patience() -> Patience {
    Patience { answer: seconds(10), between: seconds(62), lease: seconds(100) }
}

fn client() -> Client {
    Client::new(identity(), patience(), random, START)
}

fn reply(kind: u8, address: [u8; 4]) -> Message {
    let mut message = Message::of_client(kind, random(), HARDWARE);
    message.sender = Sender::Server;
    message.yours = address.into();
    message.options.insert(option::SERVER, vec![10, 5, 0, 1]);
    message.options.insert(option::SUBNET_MASK, vec![255, 255, 255, 0]);
    message.options.insert(option::LEASE_TIME, 100_u32.to_be_bytes().to_vec());
    message
}

const ADDRESS: [u8; 4] = [10, 5, 0, 9];

fn sent(outcome: Outcome) -> Outgoing {
    match outcome {
        Outcome::Send(outgoing) => *outgoing,
        other => panic!("nothing is sent: {other:?}"),
    }
}

fn bound() -> Client {
    let mut client = client();
    assert_eq!(sent(client.tick(START)).message.kind, kind::DISCOVER);
    let request = sent(client.hear(&reply(kind::OFFER, ADDRESS), SERVER, START));
    assert_eq!(request.message.kind, kind::REQUEST);
    assert_eq!(client.hear(&reply(kind::ACK, ADDRESS), SERVER, START), Outcome::Bound);
    client
}

#[test]
fn a_lease_is_asked_for_and_held() {
    let mut client = client();
    let discover = sent(client.tick(START));
    assert_eq!(discover.destination, Destination::All);
    assert_eq!(discover.message.options[&option::CLIENT_IDENTIFIER], b"\0a/n/eth0");
    assert_eq!(discover.message.options[&option::REQUEST_LIST], [3, 1]);
    assert!(!discover.message.options.contains_key(&option::REQUESTED_ADDRESS));
    assert!(client.listens());
    let request = sent(client.hear(&reply(kind::OFFER, ADDRESS), SERVER, START + seconds(1)));
    assert_eq!(request.destination, Destination::All);
    assert_eq!(request.message.options[&option::REQUESTED_ADDRESS], ADDRESS);
    assert_eq!(request.message.options[&option::SERVER], [10, 5, 0, 1]);
    assert_eq!((request.message.client, request.message.seconds), (Ipv4Addr::UNSPECIFIED, 1));
    assert_eq!(client.hear(&reply(kind::ACK, ADDRESS), SERVER, START + seconds(3)), Outcome::Bound);
    let held = client.held().expect("held");
    // The time counts from the request, not from the answer.
    assert_eq!((held.since, held.terms.address.to_string().as_str()), (START + seconds(1), "10.5.0.9/24"));
    assert!(!client.listens());
    assert_eq!(client.wakes(), Some(START + seconds(51)));
    assert_eq!(client.tick(START + seconds(50)), Outcome::Nothing);
}

#[test]
fn without_a_server_it_is_asked_again_until_time_is_up() {
    let mut client = client();
    let mut tries = Vec::new();
    let reason = loop {
        let now = client.wakes().expect("it goes on");
        match client.tick(now) {
            Outcome::Failed(reason) => break reason,
            outcome => {
                assert_eq!(sent(outcome).message.kind, kind::DISCOVER);
                tries.push((now - START).as_secs());
            }
        }
    };
    assert_eq!(tries, [0, 2, 4, 6, 8, 12, 20, 36, 68]);
    assert_eq!(reason, "no DHCP server answered");
    assert_eq!((client.wakes(), client.listens()), (None, false));
    assert_eq!(client.tick(START + seconds(500)), Outcome::Nothing);
}

#[test]
fn strangers_messages_are_not_heard() {
    let mut client = client();
    sent(client.tick(START));
    let offer = reply(kind::OFFER, ADDRESS);
    let mut others = vec![Message { transaction: 7, ..offer.clone() }];
    others.push(Message { hardware: [2; 6], ..offer.clone() });
    others.push(Message { sender: Sender::Client, ..offer.clone() });
    others.push(Message { yours: Ipv4Addr::UNSPECIFIED, ..offer.clone() });
    others.push(Message { yours: Ipv4Addr::new(224, 0, 0, 1), ..offer.clone() });
    others.push(Message { kind: kind::ACK, ..offer.clone() });
    others.push(Message { kind: kind::NAK, ..offer.clone() });
    let mut nameless = offer.clone();
    nameless.options.remove(&option::SERVER);
    others.push(nameless);
    for other in others {
        assert_eq!(client.hear(&other, SERVER, START), Outcome::Nothing, "{other:?}");
    }
    sent(client.hear(&offer, SERVER, START));
    let wrong = [reply(kind::ACK, [10, 5, 0, 10]), {
        let mut message = reply(kind::ACK, ADDRESS);
        message.options.insert(option::SERVER, vec![10, 5, 0, 2]);
        message
    }];
    for other in wrong {
        assert_eq!(client.hear(&other, SERVER, START), Outcome::Nothing, "{other:?}");
    }
    assert_eq!(client.hear(&reply(kind::ACK, ADDRESS), SERVER, START), Outcome::Bound);
    // Late and repeated answers change nothing.
    assert_eq!(client.hear(&reply(kind::NAK, ADDRESS), SERVER, START), Outcome::Nothing);
}

#[test]
fn a_refusal_is_told_when_time_is_up() {
    let mut client = client();
    let mut now = START;
    let mut refusals = 0;
    let reason = loop {
        match client.tick(now) {
            Outcome::Failed(reason) => break reason,
            outcome => assert_eq!(sent(outcome).message.kind, kind::DISCOVER),
        }
        sent(client.hear(&reply(kind::OFFER, ADDRESS), SERVER, now));
        let mut nak = reply(kind::NAK, [0; 4]);
        nak.options.insert(option::MESSAGE, b"go away".to_vec());
        assert_eq!(client.hear(&nak, SERVER, now), Outcome::Nothing);
        refusals += 1;
        // Not at once: the server is not asked without end.
        let next = client.wakes().expect("it goes on");
        assert!(next >= now + seconds(1));
        now = next;
    };
    assert!(refusals > 3, "{refusals}");
    assert_eq!(reason, "the DHCP server refused address `10.5.0.9`: go away");
}

#[test]
fn an_offer_that_is_not_confirmed_is_forgotten() {
    let mut client = client();
    sent(client.tick(START));
    sent(client.hear(&reply(kind::OFFER, ADDRESS), SERVER, START));
    let mut kinds = Vec::new();
    while let Some(now) = client.wakes().filter(|now| *now < START + seconds(13)) {
        kinds.push(sent(client.tick(now)).message.kind);
    }
    assert_eq!(kinds, [3, 3, 3, 3, 1], "asked again, then from the start");
}

#[test]
fn an_acknowledgement_without_a_mask_is_an_error() {
    let mut client = client();
    sent(client.tick(START));
    sent(client.hear(&reply(kind::OFFER, ADDRESS), SERVER, START));
    let mut message = reply(kind::ACK, ADDRESS);
    message.options.remove(&option::SUBNET_MASK);
    let outcome = client.hear(&message, SERVER, START);
    assert_eq!(outcome, Outcome::Failed("DHCP option Subnet Mask not found in DHCPACK".into()));
}

#[test]
fn a_lease_is_renewed_at_its_server() {
    let mut client = bound();
    let now = START + seconds(50);
    let renewal = sent(client.tick(now));
    assert_eq!(renewal.destination, Destination::Server([10, 5, 0, 1].into(), SERVER));
    assert_eq!((renewal.message.kind, renewal.message.client), (kind::REQUEST, ADDRESS.into()));
    assert!(!renewal.message.options.contains_key(&option::REQUESTED_ADDRESS));
    assert!(!renewal.message.options.contains_key(&option::SERVER));
    let mut other = reply(kind::ACK, ADDRESS);
    other.options.insert(option::SERVER, vec![10, 5, 0, 2]);
    assert_eq!(client.hear(&other, SERVER, now), Outcome::Nothing);
    assert_eq!(client.hear(&reply(kind::ACK, [10, 5, 0, 10]), SERVER, now), Outcome::Nothing);
    assert_eq!(client.hear(&reply(kind::ACK, ADDRESS), SERVER, now), Outcome::Bound);
    assert_eq!(client.wakes(), Some(now + seconds(50)));
}

#[test]
fn a_lease_that_its_server_does_not_renew_is_asked_of_all_and_ends() {
    let mut client = bound();
    let mut to_all = Vec::new();
    loop {
        let now = client.wakes().expect("it goes on");
        match client.tick(now) {
            Outcome::Expired => {
                assert_eq!(now, START + seconds(100));
                break;
            }
            outcome => {
                let outgoing = sent(outcome);
                assert_eq!(outgoing.message.client, Ipv4Addr::from(ADDRESS));
                if outgoing.destination == Destination::All {
                    to_all.push((now - START).as_secs());
                }
            }
        }
    }
    assert!(to_all.first().is_some_and(|first| (85..90).contains(first)), "{to_all:?}");
    assert!(client.held().is_none() && client.wakes().is_none());
    assert_eq!(client.release(START), None);
}

#[test]
fn another_server_may_prolong_when_time_runs_out() {
    let mut client = bound();
    let outgoing = sent(client.tick(START + seconds(50)));
    assert!(matches!(outgoing.destination, Destination::Server(..)));
    let outgoing = sent(client.tick(START + seconds(90)));
    assert_eq!(outgoing.destination, Destination::All);
    let mut message = reply(kind::ACK, ADDRESS);
    message.options.insert(option::SERVER, vec![10, 5, 0, 2]);
    assert_eq!(client.hear(&message, [2; 6], START + seconds(91)), Outcome::Bound);
    assert_eq!(client.held().map(|held| held.terms.server), Some([10, 5, 0, 2].into()));
}

#[test]
fn who_is_refused_what_it_holds_takes_nothing_else() {
    let mut client = bound();
    sent(client.tick(START + seconds(50)));
    assert_eq!(client.hear(&reply(kind::NAK, [0; 4]), SERVER, START + seconds(50)), Outcome::Nothing);
    assert!(client.held().is_some());
    let now = client.wakes().expect("it goes on");
    let discover = sent(client.tick(now));
    assert_eq!(discover.message.kind, kind::DISCOVER);
    assert_eq!(discover.message.options[&option::REQUESTED_ADDRESS], ADDRESS);
    assert_eq!(client.hear(&reply(kind::OFFER, [10, 5, 0, 77]), SERVER, now), Outcome::Nothing);
    let mut again = client.clone();
    sent(again.hear(&reply(kind::OFFER, ADDRESS), SERVER, now));
    assert_eq!(again.hear(&reply(kind::ACK, ADDRESS), SERVER, now), Outcome::Bound);
    let end = loop {
        let now = client.wakes().expect("it goes on");
        if client.tick(now) == Outcome::Expired {
            break now;
        }
    };
    assert_eq!(end, START + seconds(100));
}

#[test]
fn a_lease_is_given_back_also_one_that_is_just_being_granted() {
    let mut client = bound();
    let release = client.release(START + seconds(9)).expect("held");
    assert_eq!(release.destination, Destination::Server([10, 5, 0, 1].into(), SERVER));
    assert_eq!((release.message.kind, release.message.client), (kind::RELEASE, ADDRESS.into()));
    assert_eq!(release.message.options.keys().copied().collect::<Vec<_>>(), [54, 61]);
    assert_eq!(client.release(START), None);

    let mut client = self::client();
    assert!(client.clone().release(START).is_none(), "nobody has granted anything");
    sent(client.tick(START));
    sent(client.hear(&reply(kind::OFFER, ADDRESS), SERVER, START));
    assert_eq!(client.release(START).map(|outgoing| outgoing.message.client), Some(ADDRESS.into()));
}

#[test]
fn a_lease_goes_on_where_another_client_left_it() {
    let held = bound().held().cloned().expect("held");
    let resume = |now| Client::resume(identity(), patience(), random, now, held.clone());
    assert_eq!(resume(START + seconds(20)).wakes(), Some(START + seconds(50)));
    let late = START + seconds(90);
    assert!(matches!(sent(resume(late).tick(late)).destination, Destination::Server(..)));
    let too_late = START + seconds(100);
    assert_eq!(resume(too_late).tick(too_late), Outcome::Expired);
}

#[test]
fn a_lease_for_ever_is_left_alone() {
    let mut client = client();
    sent(client.tick(START));
    sent(client.hear(&reply(kind::OFFER, ADDRESS), SERVER, START));
    let mut message = reply(kind::ACK, ADDRESS);
    message.options.insert(option::LEASE_TIME, vec![255; 4]);
    assert_eq!(client.hear(&message, SERVER, START), Outcome::Bound);
    assert_eq!(client.wakes(), None);
}

#[test]
fn a_link_that_hears_only_what_is_sent_to_all_says_so() {
    let identity = Identity { broadcast: true, ..identity() };
    let mut client = Client::new(identity, patience(), random, START);
    assert!(sent(client.tick(START)).message.broadcast);
    assert!(sent(client.hear(&reply(kind::OFFER, ADDRESS), SERVER, START)).message.broadcast);
    assert_eq!(client.hear(&reply(kind::ACK, ADDRESS), SERVER, START), Outcome::Bound);
    // From then on it has its address.
    assert!(!sent(client.tick(START + seconds(50))).message.broadcast);
}
