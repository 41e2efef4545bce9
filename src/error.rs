//! The one error type, and the only place that names Python's exceptions.

use std::fmt;

#[cfg(feature = "python")]
use pyo3::exceptions::{
    PyAssertionError, PyBrokenPipeError, PyConnectionError, PyEOFError, PyMemoryError, PyOSError,
    PyRuntimeError, PyValueError,
};
#[cfg(feature = "python")]
use pyo3::prelude::*;

#[derive(Debug)]
pub enum Error {
    /// A setting or an argument that cannot be used.
    Value(String),
    /// An argument that the operating system refuses, in `CPython`.
    Invalid(String),
    /// There is not enough memory.
    Memory(String),
    /// Something is greater than the store's memory.
    NoRoom(String),
    /// The store cannot be reached, for now.
    Unreachable(String),
    /// The store refuses access, now and later.
    Refused(String),
    /// The store no longer has an object of this session.
    ObjectGone(String),
    /// The session is over, with the reason.
    SessionLost(String),
    /// Nobody holds the other end of a pipe, and everything it sent was taken.
    Eof,
    /// Nobody holds the end of the pipe that was sent to.
    Broken,
    /// The store answered with an error.
    Store(String),
    /// The system starts no process, with the number of the error.
    NoProcess(i32),
    /// A stream failed; commands are repeated on a new one before anyone sees this error.
    Io(std::io::Error),
    /// A message of another process, or a reply of a script, cannot be decoded.
    Protocol(String),
    /// A payload whose seal does not open.
    Seal(String),
    /// A lock was released by a thread that does not hold it.
    NotOwner(String),
    /// A call at the wrong time.
    State(String),
    /// Another thread ends the process.
    Ending,
    /// A signal handler of the program raised this.
    #[cfg(feature = "python")]
    Raised(PyErr),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether a signal handler of the program raised this error.
    pub const fn is_raised(&self) -> bool {
        #[cfg(feature = "python")]
        let is_raised = matches!(self, Self::Raised(_));
        #[cfg(not(feature = "python"))]
        let is_raised = false;
        is_raised
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(text)
            | Self::Invalid(text)
            | Self::Memory(text)
            | Self::NoRoom(text)
            | Self::Unreachable(text)
            | Self::Refused(text)
            | Self::Store(text)
            | Self::Protocol(text)
            | Self::Seal(text)
            | Self::NotOwner(text)
            | Self::State(text) => f.write_str(text),
            Self::ObjectGone(what) => write!(
                f,
                "session lost: the store no longer has {what} (flushed, its lease ran out, or its owner has ended)"
            ),
            Self::SessionLost(why) => write!(f, "session lost: {why}"),
            Self::Eof => f.write_str("the other end of the pipe is closed"),
            Self::Broken => f.write_str("Broken pipe"),
            Self::Ending => f.write_str("the process ends"),
            Self::NoProcess(number) => write!(
                f,
                "no process could be started: {}",
                nix::errno::Errno::from_raw(*number).desc()
            ),
            Self::Io(e) => write!(f, "connection to the store: {e}"),
            #[cfg(feature = "python")]
            Self::Raised(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<nix::errno::Errno> for Error {
    fn from(e: nix::errno::Errno) -> Self {
        Self::Io(e.into())
    }
}

#[cfg(feature = "python")]
impl From<Error> for PyErr {
    fn from(e: Error) -> Self {
        let text = e.to_string();
        match e {
            Error::Raised(e) => e,
            Error::Value(_) => PyValueError::new_err(text),
            Error::Seal(_) => {
                log(&text);
                PyValueError::new_err(text)
            }
            Error::Unreachable(_)
            | Error::Refused(_)
            | Error::ObjectGone(_)
            | Error::SessionLost(_) => PyConnectionError::new_err(text),
            Error::Eof => PyEOFError::new_err(()),
            Error::Broken => PyBrokenPipeError::new_err((nix::libc::EPIPE, text)),
            Error::Store(_) | Error::Protocol(_) | Error::State(_) => PyRuntimeError::new_err(text),
            Error::NoRoom(_) => PyMemoryError::new_err(text),
            Error::Memory(_) => PyOSError::new_err((nix::libc::ENOMEM, text)),
            Error::NoProcess(number) => PyOSError::new_err((number, text)),
            Error::Invalid(_) => PyOSError::new_err((nix::libc::EINVAL, text)),
            Error::Io(_) => PyOSError::new_err(text),
            Error::NotOwner(_) => PyAssertionError::new_err(text),
            Error::Ending => stop_here(),
        }
    }
}

/// A daemon thread at the end of its process sees nothing any more, as when the interpreter ends.
#[cfg(feature = "python")]
fn stop_here() -> ! {
    Python::attach(|py| {
        py.detach(|| {
            loop {
                std::thread::park();
            }
        })
    })
}

/// Logs a refused payload, even if the program catches the exception: it may be an attack.
#[cfg(feature = "python")]
pub fn log(text: &str) {
    Python::attach(|py| {
        let logged = py
            .import("logging")
            .and_then(|logging| logging.call_method1("getLogger", ("serverless_mp",)))
            .and_then(|logger| logger.call_method1("error", (text,)));
        // The exception says the same.
        drop(logged);
    });
}
