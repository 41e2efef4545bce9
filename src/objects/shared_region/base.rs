//! Bases: the content of a large region at some version, in a file that the processes of this machine share.
//!
//! A process that starts others on its machine offers them a base of each large region that it has made, and notes in the
//! region's hash where it is. A process that attaches maps the base, and fetches only what is newer.

use std::fs::{File, read_link, read_to_string};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::Value;

use super::SharedRegion;
use crate::error::Result;
use crate::objects::buffer::Buffer;
use crate::objects::granule::{GRANULE, bytes_of};
use crate::objects::overlay::{self, new_file, write_all};
use crate::objects::pages::PAGE;
use crate::protocol::Base;
use crate::signals;
use crate::store::client::Client;
use crate::store::keys;
use crate::store::request::text;

/// A smaller region is fetched as quickly.
const LEAST: usize = 1 << 20;

/// A process offers and maps at most so many bases: each takes a descriptor.
const MOST: usize = 64;
static OFFERED: AtomicUsize = AtomicUsize::new(0);

/// The file of a base that this process offers.
pub struct Offered(#[allow(dead_code, reason = "it stays open")] File);

impl Offered {
    fn new(file: File) -> Self {
        OFFERED.fetch_add(1, Ordering::Relaxed);
        Self(file)
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        OFFERED.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SharedRegion {
    /// Publishes the region and offers a base, unless there is one of which most is still true. Without a base others only
    /// take longer.
    pub fn offer(&self, client: &Client) -> Result<()> {
        if !self.is_own || self.buffer.len() < LEAST || self.buffer.pages().is_none() {
            return Ok(());
        }
        self.publish(client)?;
        match self.try_offer(client) {
            Err(e) if !e.is_raised() => {
                tracing::debug!(error = %e, region = self.id, "no base is offered");
                Ok(())
            }
            offered => offered,
        }
    }

    fn try_offer(&self, client: &Client) -> Result<()> {
        let Some(mut twin) = self.twin() else {
            return Ok(());
        };
        if OFFERED.load(Ordering::Relaxed) >= MOST && twin.base.is_none() {
            return Ok(());
        }
        let is_stale = twin.bytes.changed() * 4 > self.buffer.len().div_ceil(GRANULE);
        if twin.version == 0 || twin.base.is_some() && !is_stale {
            return Ok(());
        }
        let file = new_file(self.buffer.len().next_multiple_of(PAGE))?;
        for granule in twin.bytes.filled() {
            let bytes = bytes_of(granule, self.buffer.len());
            write_all(&file, twin.bytes.get(bytes.clone()), bytes.start)?;
        }
        let file = File::from(file);
        let found = file.metadata()?;
        let base = Base {
            machine: machine(),
            pid: std::process::id(),
            fd: file.as_raw_fd(),
            device: found.dev(),
            inode: found.ino(),
            version: twin.version,
        };
        let note = client.plain("HSET", client.key(&self.id)).fails_when_full();
        note.arg(keys::BASE).arg(base.encode()).call()?;
        twin.bytes.forget_changes();
        twin.base = Some(Offered::new(file));
        Ok(())
    }
}

/// The base of a region of this size, mapped, and its version. None if there is none here, or if other threads run: they
/// might write while the view changes.
pub fn find(client: &Client, id: &str, size: usize) -> Result<Option<(Buffer, u64)>> {
    if size < LEAST || overlay::count() >= MOST || !signals::is_alone() {
        return Ok(None);
    }
    let noted = client
        .plain("HGET", client.key(id))
        .arg(keys::BASE)
        .call()?;
    let Value::BulkString(_) = noted else {
        return Ok(None);
    };
    let noted = text(&noted);
    let found = Base::decode(&noted)
        .ok()
        .filter(|base| base.machine == machine())
        .and_then(|base| Some((open(&base, size)?, base.version)))
        .and_then(|(file, version)| Some((Buffer::on(&file, size)?, version)));
    Ok(found)
}

/// Opens the file of another process; None if that has ended, or has another file by now.
fn open(base: &Base<'_>, size: usize) -> Option<File> {
    let file = File::open(format!("/proc/{}/fd/{}", base.pid, base.fd)).ok()?;
    let found = file.metadata().ok()?;
    let is_same = (found.dev(), found.ino()) == (base.device, base.inode);
    let is_whole = found.len() == size.next_multiple_of(PAGE) as u64;
    (is_same && is_whole).then_some(file)
}

/// The name of this machine, as far as processes see one another: its boot and its namespace of processes.
fn machine() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let boot = read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let processes = read_link("/proc/self/ns/pid").unwrap_or_default();
        format!("{}/{}", boot.trim(), processes.display())
    })
}
