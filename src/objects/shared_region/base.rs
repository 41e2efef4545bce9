//! Bases: the content of a large region at some version, in a file that the processes of this machine share.
//!
//! A process that starts others on its machine offers them a base of each large region that it has made, and notes in the
//! region's hash where it is. A process that attaches maps the base, and fetches only what is newer.

use std::fs::{File, read_link, read_to_string};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use redis::Value;

use super::{SharedRegion, Twin};
use crate::error::Result;
use crate::objects::buffer::Buffer;
use crate::objects::granule::{GRANULE, PAGE, bytes_of};
use crate::objects::overlay::{self, KeptFile, new_file, write_all};
use crate::objects::pages::{LEAST_BASE, Pages};
use crate::protocol::Base;
use crate::signals;
use crate::store::client::Client;
use crate::store::keys;
use crate::store::request::text;
use crate::store::scripts;

/// A base that this process offers.
pub struct Offered {
    file: KeptFile,
    /// The version of its content.
    version: u64,
    /// Whether it is certain that the store has the note of it.
    is_noted: bool,
}

impl SharedRegion {
    /// Publishes the region and offers a base, unless there is one of which most is still true. Without a base others only
    /// take longer.
    pub fn offer(&self, client: &Client) -> Result<()> {
        let Some(pages) = self.buffer.pages() else {
            return Ok(());
        };
        if !self.is_own || self.buffer.len() < LEAST_BASE {
            return Ok(());
        }
        self.publish(client)?;
        match self.try_offer(client, pages) {
            Err(e) if !e.is_raised() => {
                tracing::debug!(error = %e, region = self.id, "no base is offered");
                Ok(())
            }
            offered => offered,
        }
    }

    fn try_offer(&self, client: &Client, pages: &Pages) -> Result<()> {
        let Some(mut twin) = self.twin() else {
            return Ok(());
        };
        if twin.version == 0 {
            return Ok(());
        }
        let is_stale = twin.bytes.changed() * 4 > self.buffer.len().div_ceil(GRANULE);
        if twin.base.is_none() || is_stale {
            let Some(file) = self.new_base(&twin, pages)? else {
                return Ok(());
            };
            twin.bytes.forget_changes();
            twin.base = Some(Offered {
                file,
                version: twin.version,
                is_noted: false,
            });
        }
        if let Some(base) = twin.base.as_mut().filter(|base| !base.is_noted) {
            // After an error the store may have the note all the same: the base stays, and is noted again.
            self.note(client, base)?;
            base.is_noted = true;
        }
        Ok(())
    }

    /// A file with the content of the twin: the first is the twin's own, the others are copies. None if there are too many.
    fn new_base(&self, twin: &Twin, pages: &Pages) -> Result<Option<KeptFile>> {
        if let Some(own) = pages.become_base() {
            return Ok(Some(own));
        }
        if !KeptFile::may_be_one_more() {
            return Ok(None);
        }
        Ok(KeptFile::new(self.copy_of(twin)?))
    }

    /// A new file with the content of the twin.
    fn copy_of(&self, twin: &Twin) -> Result<OwnedFd> {
        let file = new_file(self.buffer.len().next_multiple_of(PAGE))?;
        for granule in twin.bytes.filled() {
            let bytes = bytes_of(granule, self.buffer.len());
            write_all(&file, twin.bytes.get(bytes.clone()), bytes.start)?;
        }
        Ok(file)
    }

    /// Notes where other processes find a base.
    fn note(&self, client: &Client, base: &Offered) -> Result<()> {
        let (file, version) = (base.file.file(), base.version);
        let found = file.metadata()?;
        let base = Base {
            machine: machine(),
            pid: std::process::id(),
            fd: file.as_raw_fd(),
            device: found.dev(),
            inode: found.ino(),
            version,
        };
        let note = client.script(&scripts::NOTE_BASE, &self.id);
        note.arg(base.encode()).call().map(drop)
    }
}

/// The base of a region of this size, mapped, and its version. None if there is none here, or if other threads run: they
/// might write while the view changes.
pub fn find(client: &Client, id: &str, size: usize) -> Result<Option<(Buffer, u64)>> {
    if size < LEAST_BASE || !overlay::may_have_more() || !signals::is_alone() {
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
