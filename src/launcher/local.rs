//! Workers on this machine: forked by a zygote, which listens on a UNIX socket.
//!
//! There is one connection for each worker. The launcher sends the event and the descriptors for the worker; the zygote
//! answers with the worker's process id, and with its exit code when it has ended: four bytes each.

use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::poll::PollFlags;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::Launched;
use crate::error::{Error, Result};
use crate::store::conn::{Ended, Until, ready};

pub fn launch(path: &str, event: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<Launched> {
    let failed = |e: std::io::Error| {
        Error::State(format!("the parent of local workers does not answer: {e}"))
    };
    let mut stream = UnixStream::connect(path).map_err(failed)?;
    let length = u32::try_from(event.len())
        .map_err(|_| Error::Value("the environment is too large".into()))?;
    let head = length.to_ne_bytes();
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    // The descriptors travel with the first bytes.
    sendmsg::<()>(
        stream.as_raw_fd(),
        &[IoSlice::new(&head)],
        &[ControlMessage::ScmRights(&raw)],
        MsgFlags::empty(),
        None,
    )?;
    stream.write_all(event).map_err(failed)?;
    // The zygote may be importing for the worker; an exception in a signal handler ends the wait, and the request with it.
    let answered = ready(stream.as_fd(), PollFlags::POLLIN, &Until::default());
    if let Err(Ended::Failed(e)) = answered {
        return Err(e);
    }
    let mut pid = [0; 4];
    stream.read_exact(&mut pid).map_err(failed)?;
    let pid = i32::from_ne_bytes(pid);
    if pid <= 0 {
        return Err(Error::NoProcess(-pid));
    }
    Ok(Launched {
        pid,
        report: stream.into(),
    })
}
