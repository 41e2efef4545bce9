//! A proxy that delays what passes: a network between a program and its store, for benchmarks.
//!
//! `delay LISTEN TARGET MICROSECONDS`: UNIX sockets, by path; the delay is that of each way. It prints `ready`, and ends with its
//! standard input.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, thread};

/// One way of one connection: a thread reads, another writes when it is time.
fn carry(mut from: UnixStream, mut to: UnixStream, delay: Duration) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if sender
                .send((Instant::now() + delay, buffer[..n].to_vec()))
                .is_err()
            {
                break;
            }
        }
    });
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let [_, listen, target, microseconds] = &arguments[..] else {
        panic!("usage: delay LISTEN TARGET MICROSECONDS");
    };
    let delay = Duration::from_micros(microseconds.parse().expect("a number of microseconds"));
    let listener = UnixListener::bind(listen)?;
    println!("ready");
    let target = target.clone();
    thread::spawn(move || {
        for here in listener.incoming().flatten() {
            let Ok(there) = UnixStream::connect(&target) else {
                continue;
            };
            if let (Ok(back), Ok(forth)) = (here.try_clone(), there.try_clone()) {
                carry(here, forth, delay);
                carry(there, back, delay);
            }
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}
