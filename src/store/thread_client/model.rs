//! A model of the protocol: clients that post commands, a server that may lose its functions and get them again, and
//! connections that break and lose what they carry. In every order of events, each command must run once, and in its client's
//! order.
//!
//! The sequence numbers and the meaning of refusals are those of the product; the client's queue and the server are written again, as
//! small as possible. Each rule can be left out; the model must then find a failure.

use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;
use redis::{Value, parse_redis_value};

use super::sequence::Sequence;
use crate::store::request::{Refusal, Request, refusal};
use crate::store::scripts::SEND;

/// The rules that can be left out.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each rule is in force or not"
)]
#[derive(Clone, Copy)]
struct Rules {
    /// A command keeps its number when it is sent again.
    numbers_stay: bool,
    /// A command is refused if its predecessor is missing.
    predecessors: bool,
    /// Functions that were loaded again have other names.
    names_change: bool,
    /// A refusal stops the reading, and all commands from it on are sent again.
    in_order: bool,
}

const ALL: Rules = Rules {
    numbers_stay: true,
    predecessors: true,
    names_change: true,
    in_order: true,
};

#[derive(Default)]
struct Server {
    /// The number of the library, while it is there.
    library: Option<u64>,
    loads: u64,
    /// By object and caller: the last seq that was noted.
    noted: HashMap<(String, usize), u64>,
    /// The commands that have run: the caller, and the index of the command.
    ran: Vec<(usize, usize)>,
}

impl Server {
    fn load(&mut self) -> u64 {
        if self.library.is_none() {
            self.loads += 1;
            self.library = Some(self.loads);
        }
        self.library.expect("just loaded")
    }

    /// As `open` in the prelude of the scripts, and the script after it.
    fn run(
        &mut self,
        rules: Rules,
        names: u64,
        caller: usize,
        index: usize,
        request: &Request,
    ) -> Value {
        let is_known = self
            .library
            .is_some_and(|number| number == names || !rules.names_change);
        if !is_known {
            return reply("-ERR Function not found");
        }
        let last = self
            .noted
            .entry((request.keys[0].clone(), caller))
            .or_default();
        if *last >= request.seq {
            return reply("+again");
        }
        if rules.predecessors && *last < request.previous {
            return reply("-SMPGAP object");
        }
        *last = request.seq;
        self.ran.push((caller, index));
        reply("+ok")
    }
}

fn reply(line: &str) -> Value {
    parse_redis_value(format!("{line}\r\n").as_bytes()).expect("a reply")
}

/// A client and its connection.
struct Client {
    sequence: Sequence,
    next: u64,
    /// The posted commands whose replies are unread, each with its index.
    unread: VecDeque<(usize, Request)>,
    posted: usize,
    /// The names by which the connection calls; None if it is broken.
    names: Option<u64>,
    /// The commands and the replies on their way.
    sent: VecDeque<(usize, Request)>,
    replies: VecDeque<Value>,
    is_lost: bool,
}

impl Client {
    fn new() -> Self {
        Self {
            sequence: Sequence::default(),
            next: 1,
            unread: VecDeque::new(),
            posted: 0,
            names: None,
            sent: VecDeque::new(),
            replies: VecDeque::new(),
            is_lost: false,
        }
    }

    fn post(&mut self, object: &str) {
        let mut request = Request::new(Some(&SEND), vec![object.into()], Vec::new());
        self.number(&mut request);
        if self.names.is_some() {
            self.sent.push_back((self.posted, request.clone()));
        }
        self.unread.push_back((self.posted, request));
        self.posted += 1;
    }

    fn number(&mut self, request: &mut Request) {
        let next = &mut self.next;
        self.sequence.give(request, false, || {
            *next += 1;
            *next
        });
    }

    fn cut(&mut self) {
        self.names = None;
        self.sent.clear();
        self.replies.clear();
    }

    fn connect(&mut self, server: &mut Server) {
        if self.names.is_none() {
            self.names = Some(server.load());
            self.sent = self.unread.clone();
        }
    }

    /// Reads one reply.
    fn read(&mut self, rules: Rules) {
        let Some(value) = self.replies.pop_front() else {
            return;
        };
        match refusal(&value) {
            Some(Refusal::Gap) if rules.in_order => self.is_lost = true,
            Some(_) if rules.in_order => self.cut(),
            Some(_) => {
                // Only this command is sent again, after the others.
                let (index, mut request) = self.unread.pop_front().expect("it has a reply");
                if !rules.numbers_stay {
                    self.number(&mut request);
                }
                self.sent.push_back((index, request.clone()));
                self.unread.push_back((index, request));
                self.names = None;
            }
            None => drop(self.unread.pop_front()),
        }
        if !rules.in_order
            && self.names.is_none()
            && self.sent.is_empty()
            && self.replies.is_empty()
        {
            self.sent = self.unread.clone();
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Post(usize, u8),
    /// The server takes one command of a client's connection.
    Run(usize),
    Read(usize),
    Cut(usize),
    Connect(usize),
    /// The functions are lost.
    Flush,
    /// Another process loads the functions.
    LoadByAnother,
}

const CLIENTS: usize = 2;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..CLIENTS;
    let step = prop_oneof![
        4 => (client.clone(), 0..2_u8).prop_map(|(client, object)| Step::Post(client, object)),
        5 => client.clone().prop_map(Step::Run),
        4 => client.clone().prop_map(Step::Read),
        1 => client.clone().prop_map(Step::Cut),
        2 => client.prop_map(Step::Connect),
        1 => Just(Step::Flush),
        1 => Just(Step::LoadByAnother),
    ];
    prop::collection::vec(step, 1..120)
}

/// Plays the steps, then lets everything finish. Returns what went wrong.
fn play(rules: Rules, steps: &[Step]) -> Result<(), String> {
    let mut server = Server::default();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::new()).collect();
    let run = |server: &mut Server, clients: &mut Vec<Client>, n: usize| {
        if let (Some(names), Some((index, request))) =
            (clients[n].names, clients[n].sent.pop_front())
        {
            let value = server.run(rules, names, n, index, &request);
            clients[n].replies.push_back(value);
        }
    };
    for step in steps {
        match *step {
            Step::Post(n, object) => clients[n].post(&format!("smp:{{s.{object}}}")),
            Step::Run(n) => run(&mut server, &mut clients, n),
            Step::Read(n) => clients[n].read(rules),
            Step::Cut(n) => clients[n].cut(),
            Step::Connect(n) => clients[n].connect(&mut server),
            Step::Flush => server.library = None,
            Step::LoadByAnother => drop(server.load()),
        }
    }
    for _ in 0..10_000 {
        if clients.iter().all(|client| client.unread.is_empty()) {
            break;
        }
        for n in 0..CLIENTS {
            clients[n].connect(&mut server);
            run(&mut server, &mut clients, n);
            clients[n].read(rules);
        }
    }
    for (n, client) in clients.iter().enumerate() {
        if client.is_lost {
            return Err(format!("client {n} takes its session for lost"));
        }
        let ran: Vec<usize> = server
            .ran
            .iter()
            .filter(|(caller, _)| *caller == n)
            .map(|(_, index)| *index)
            .collect();
        if ran != (0..client.posted).collect::<Vec<_>>() {
            return Err(format!(
                "of {} commands of client {n} ran {ran:?}",
                client.posted
            ));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn each_command_runs_once_and_in_its_order(steps in steps()) {
        prop_assert_eq!(play(ALL, &steps), Ok(()));
    }
}

/// Whether the model finds a failure under these rules.
fn is_missed(rules: Rules) -> bool {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&steps(), |steps| {
            prop_assert_eq!(play(rules, &steps), Ok(()));
            Ok(())
        })
        .is_err()
}

#[test]
fn without_constant_numbers_a_command_runs_twice() {
    assert!(is_missed(Rules {
        numbers_stay: false,
        in_order: false,
        predecessors: false,
        ..ALL
    }));
}

#[test]
fn without_the_order_of_repetitions_a_command_is_lost_or_late() {
    assert!(is_missed(Rules {
        in_order: false,
        predecessors: false,
        ..ALL
    }));
}

#[test]
fn without_new_names_a_command_overtakes_one_on_another_object() {
    assert!(is_missed(Rules {
        names_change: false,
        ..ALL
    }));
}

#[test]
fn without_predecessors_a_command_overtakes_another_on_the_same_object() {
    assert!(is_missed(Rules {
        predecessors: false,
        names_change: false,
        ..ALL
    }));
}
