//! Where the store is: the forms of `SERVERLESS_MP_REDIS_URL`, and streams to it.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use percent_encoding::percent_decode_str;
use redis::{ConnectionAddr, IntoConnectionInfo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, StreamOwned};

use crate::error::{Error, Result};
use crate::hex;
use crate::store::tls::{self, Trust};

pub const VARIABLE: &str = "SERVERLESS_MP_REDIS_URL";
const FORMS: &str = "redis://[user:password@]host:port/db, rediss://… (TLS; ?ssl_ca_certs=FILE&server_name=NAME), \
                     redis+unix:///path?pass=…, redis+cluster://host:port[,host:port] or rediss+cluster://…";

/// Parameters of `rediss://`: a file with certificates of authorities, for a written address; the certificates themselves, for
/// an address that travels; and the name in the store's own certificate.
const CA_FILE: &str = "ssl_ca_certs";
const CA: &str = "ca";
const SERVER_NAME: &str = "server_name";

/// How long an unreachable store is tried.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Clone)]
pub enum NodeAddr {
    Unix(PathBuf),
    Tcp {
        host: String,
        port: u16,
        tls: Option<Trust>,
    },
}

#[derive(Clone)]
pub struct Endpoint {
    pub first: Vec<NodeAddr>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub db: i64,
    pub cluster: bool,
}

impl NodeAddr {
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: Some(_), .. })
    }
}

impl std::fmt::Display for NodeAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
        }
    }
}

impl Endpoint {
    pub fn parse(url: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::Value(format!(
                "{VARIABLE} is not usable ({why}); valid forms: {FORMS}"
            ))
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("no scheme"))?;
        let cluster = scheme.ends_with("+cluster");
        let scheme = scheme.trim_end_matches("+cluster");
        if !matches!(
            scheme,
            "redis" | "rediss" | "valkey" | "valkeys" | "redis+unix" | "valkey+unix" | "unix"
        ) {
            return Err(wrong(&format!("scheme {scheme:?}")));
        }
        // The client itself does TLS: for the parser it is a plain address.
        let (scheme, is_secure) = match scheme {
            "rediss" | "valkeys" => ("redis", true),
            plain => (plain, false),
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) if is_secure => (rest, query),
            _ => (rest, ""),
        };
        let tls = is_secure.then(|| trust(query).map_err(|why| wrong(&why)));
        let tls = tls.transpose()?;
        // A cluster may name several nodes; each takes the place of the host in turn.
        let (login, hosts) = rest.rsplit_once('@').map_or(("", rest), |(l, h)| (l, h));
        let (hosts, tail) = hosts
            .split_once('/')
            .map_or((hosts, String::new()), |(h, t)| (h, format!("/{t}")));
        let at = if login.is_empty() {
            String::new()
        } else {
            format!("{login}@")
        };
        let names: Vec<&str> = if cluster {
            hosts.split(',').collect()
        } else {
            vec![hosts]
        };
        let mut endpoint: Option<Self> = None;
        for name in names {
            // The parser's own text is left out: it may quote the password.
            let info = format!("{scheme}://{at}{name}{tail}")
                .as_str()
                .into_connection_info()
                .map_err(|e| wrong(e.detail().unwrap_or("it does not parse")))?;
            let place = match info.addr() {
                ConnectionAddr::Tcp(host, port) => NodeAddr::Tcp {
                    host: host.clone(),
                    port: *port,
                    tls: tls.clone(),
                },
                ConnectionAddr::Unix(path) => NodeAddr::Unix(path.clone()),
                _ => return Err(wrong("address")),
            };
            let redis = info.redis_settings();
            if cluster && redis.db() != 0 {
                return Err(wrong("a cluster has no databases"));
            }
            endpoint
                .get_or_insert_with(|| Self {
                    first: Vec::new(),
                    user: redis.username().map(str::to_owned),
                    password: redis.password().map(str::to_owned),
                    db: redis.db(),
                    cluster,
                })
                .first
                .push(place);
        }
        endpoint.ok_or_else(|| wrong("no host"))
    }

    /// The address of another node of the same cluster.
    pub fn node(&self, host: &str, port: u16) -> NodeAddr {
        let tls = match &self.first[0] {
            NodeAddr::Tcp { tls, .. } => tls.clone(),
            NodeAddr::Unix(_) => None,
        };
        NodeAddr::Tcp {
            host: host.to_owned(),
            port,
            tls,
        }
    }
}

/// Parses the query of an address. An error says in words what is wrong.
fn trust(query: &str) -> std::result::Result<Trust, String> {
    // A message must not show a part of a password.
    if query.contains('@') {
        return Err("a question mark in a password is written %3F".into());
    }
    let mut trust = Trust::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8_lossy();
        match name {
            CA_FILE => {
                let found = tls::certificates_of(&value);
                trust.authorities = found.map_err(|e| format!("{CA_FILE} {e}"))?;
            }
            CA => {
                for one in value.split(',') {
                    let der = hex::decode(one).ok_or_else(|| format!("{CA} is not hexadecimal"))?;
                    trust.authorities.push(CertificateDer::from(der));
                }
            }
            SERVER_NAME => trust.name = Some(value.into_owned()),
            _ => return Err(format!("there is no parameter {name:?}")),
        }
    }
    Ok(trust)
}

/// An address that means the same on another machine: it has the certificates instead of the name of their file.
pub fn portable(url: &str) -> Result<String> {
    let endpoint = Endpoint::parse(url)?;
    let NodeAddr::Tcp {
        tls: Some(trust), ..
    } = &endpoint.first[0]
    else {
        return Ok(url.to_owned());
    };
    let (place, _) = url.split_once('?').unwrap_or((url, ""));
    let authorities: Vec<String> = trust
        .authorities
        .iter()
        .map(|one| hex::encode(one))
        .collect();
    let mut pairs = Vec::new();
    if !authorities.is_empty() {
        pairs.push(format!("{CA}={}", authorities.join(",")));
    }
    if let Some(name) = &trust.name {
        pairs.push(format!("{SERVER_NAME}={name}"));
    }
    let mark = if pairs.is_empty() { "" } else { "?" };
    Ok(format!("{place}{mark}{}", pairs.join("&")))
}

pub enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// The same socket under another number, if it has that of a standard stream: the program has closed the stream, and what it writes
/// there must not come here. A clone always has another number.
fn apart<S: AsRawFd>(socket: S, clone: impl FnOnce(&S) -> io::Result<S>) -> io::Result<S> {
    if (0..3).contains(&socket.as_raw_fd()) {
        clone(&socket)
    } else {
        Ok(socket)
    }
}

impl Stream {
    /// A connected, non-blocking stream.
    pub fn connect(place: &NodeAddr) -> io::Result<Self> {
        let stream = match place {
            NodeAddr::Unix(path) => {
                Self::Unix(apart(UnixStream::connect(path)?, UnixStream::try_clone)?)
            }
            NodeAddr::Tcp { host, port, tls } => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
                let mut found = None;
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT / 2) {
                        Ok(s) => {
                            found = Some(s);
                            break;
                        }
                        Err(e) => last = e,
                    }
                }
                let tcp = apart(found.ok_or(last)?, TcpStream::try_clone)?;
                tcp.set_nodelay(true)?;
                // A silent peer, such as an address translator that forgot the connection, is found within a minute.
                setsockopt(&tcp, sockopt::KeepAlive, &true)?;
                #[cfg(target_os = "linux")]
                {
                    setsockopt(&tcp, sockopt::TcpKeepIdle, &30)?;
                    setsockopt(&tcp, sockopt::TcpKeepInterval, &10)?;
                    setsockopt(&tcp, sockopt::TcpKeepCount, &3)?;
                }
                match tls {
                    Some(trust) => Self::Tls(Box::new(secure(host, trust, tcp)?)),
                    None => Self::Tcp(tcp),
                }
            }
        };
        match &stream {
            Self::Unix(s) => s.set_nonblocking(true)?,
            Self::Tcp(s) => s.set_nonblocking(true)?,
            Self::Tls(s) => s.sock.set_nonblocking(true)?,
        }
        Ok(stream)
    }

    /// Whether nothing that was written is still in a buffer of the stream.
    pub fn is_flushed(&self) -> bool {
        match self {
            Self::Unix(_) | Self::Tcp(_) => true,
            Self::Tls(s) => !s.conn.wants_write(),
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(s) => s.as_fd(),
            Self::Tcp(s) => s.as_fd(),
            Self::Tls(s) => s.sock.as_fd(),
        }
    }
}

fn secure(
    host: &str,
    trust: &Trust,
    tcp: TcpStream,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = trust.name.as_deref().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    let config = tls::shared_config(&trust.authorities)?;
    let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, tcp);
    stream.sock.set_read_timeout(Some(CONNECT_TIMEOUT))?;
    while stream.conn.is_handshaking() {
        stream
            .conn
            .complete_io(&mut stream.sock)
            .map_err(about_tls)?;
    }
    stream.sock.set_read_timeout(None)?;
    Ok(stream)
}

/// Explains a handshake that something else than TLS has answered, or nothing: a plain store waits for the end of a line.
fn about_tls(e: io::Error) -> io::Error {
    let inner = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    let is_other = matches!(inner, Some(rustls::Error::InvalidMessage(_)))
        || matches!(
            e.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        );
    if is_other {
        return io::Error::other(format!(
            "no TLS is spoken there, as rediss:// wants it: redis:// is without ({e})"
        ));
    }
    e
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(s) => s.read(buf),
            Self::Tcp(s) => s.read(buf),
            Self::Tls(s) => s.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(s) => s.write(buf),
            Self::Tcp(s) => s.write(buf),
            Self::Tls(s) => s.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Unix(s) => s.flush(),
            Self::Tcp(s) => s.flush(),
            Self::Tls(s) => s.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(url: &str) -> Vec<String> {
        let endpoint = Endpoint::parse(url).unwrap();
        endpoint.first.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_forms_of_an_address() {
        assert_eq!(places("redis://host:1234/2"), ["host:1234"]);
        assert_eq!(places("valkey://host"), ["host:6379"]);
        assert_eq!(places("redis+unix:///run/store.sock"), ["/run/store.sock"]);
        assert_eq!(places("redis+cluster://one:1,two:2"), ["one:1", "two:2"]);
        let endpoint = Endpoint::parse("rediss://user:pass%20word@host:1/3").unwrap();
        assert!(endpoint.first[0].is_tls() && !endpoint.cluster);
        assert_eq!(endpoint.user.as_deref(), Some("user"));
        assert_eq!(endpoint.password.as_deref(), Some("pass word"));
        assert_eq!(endpoint.db, 3);
        assert!(
            Endpoint::parse("rediss+cluster://one:1")
                .unwrap()
                .node("two", 2)
                .is_tls()
        );
    }

    #[test]
    fn an_address_that_travels_brings_its_authority() {
        let url = "rediss://:secret@host:1/3?ca=0102,03&server_name=some.name";
        let endpoint = Endpoint::parse(url).unwrap();
        let NodeAddr::Tcp {
            tls: Some(trust), ..
        } = endpoint.node("other", 2)
        else {
            panic!("there is no TLS");
        };
        assert_eq!(trust.name.as_deref(), Some("some.name"));
        assert_eq!(trust.authorities.len(), 2);
        assert_eq!(portable(url).unwrap(), url);
        for plain in [
            "redis://host:1/0",
            "redis+unix:///run/s?pass=a",
            "rediss://host",
        ] {
            assert_eq!(portable(plain).unwrap(), plain);
        }
    }

    #[test]
    fn what_is_no_address_names_the_forms_and_no_password() {
        for url in [
            "host:6379",
            "http://host",
            "redis://:secret@host:port",
            "redis+cluster://:secret@host:1/2",
            "rediss://:secret@host?ca=xy",
            "rediss://:secret@host?cert=none",
            "rediss://:se?secret@host",
            "rediss://:secret@host?ssl_ca_certs=/there/is/none",
        ] {
            let Err(Error::Value(text)) = Endpoint::parse(url) else {
                panic!("{url} was taken");
            };
            assert!(
                text.contains("valid forms") && !text.contains("secret"),
                "{text}"
            );
        }
    }
}
