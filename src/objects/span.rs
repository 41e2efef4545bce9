//! A span of memory for the program: plain memory of this process until it is shared, then a region of the store.

use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};
use crate::objects::buffer::Buffer;
use crate::objects::handle::Handle;
use crate::objects::shareable::Shareable;
use crate::objects::shared_region::{Origin, SharedRegion};
use crate::objects::unshared::Unshared;
use crate::signals;
use crate::store::client::Client;
use crate::store::keys;
use crate::store::request::text;

/// Whether memory of at least this size in bytes fits into the store is asked.
const QUESTIONABLE: usize = 1 << 20;

pub struct Span {
    pub buffer: Arc<Buffer>,
    shared: OnceLock<Arc<SharedRegion>>,
    object: Unshared,
}

impl Span {
    /// Makes a span of zeros.
    pub fn new(size: usize) -> Result<Arc<Self>> {
        let span = Arc::new(Self {
            buffer: Arc::new(Buffer::new(size)?),
            shared: OnceLock::new(),
            object: Unshared::new(None)?,
        });
        let one: Arc<dyn Shareable> = span.clone();
        span.object.process.unshared.note(Arc::downgrade(&one));
        Ok(span)
    }

    /// Attaches to the memory of a region that is shared.
    pub fn attach(id: String, size: usize) -> Result<Arc<Self>> {
        let object = Unshared::attach(id)?;
        let process = object.process;
        let shared = process.memory.attach(process, &object.id, size)?;
        process.memory.keep_fresh(process)?;
        shared.begin_span();
        Ok(Arc::new(Self {
            buffer: shared.buffer.clone(),
            shared: OnceLock::from(shared),
            object,
        }))
    }

    pub fn id(&self) -> &str {
        &self.object.id
    }

    /// The handle and the region; shares the span first if it is not shared yet. The GIL must not be held.
    pub fn in_store(&self) -> Result<(&Handle, &SharedRegion)> {
        let handle = self.object.shared_by(|| {
            let (process, id) = (self.object.process, &self.object.id);
            check_room(process, self.buffer.len())?;
            let handle = Handle::create(process, id.clone(), &[(keys::VERSION, 0)])?;
            // Its content counts as written by this process over the zeros of the store.
            let shared = process
                .memory
                .enter(process, id, self.buffer.clone(), Origin::Made)?;
            shared.begin_span();
            let _ = self.shared.set(shared);
            process.memory.keep_fresh(process)?;
            Ok(handle)
        })?;
        let shared = self.shared.get().expect("it was set before the handle");
        Ok((handle, shared))
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let process = self.object.process;
        if let Some(shared) = self.shared.get()
            && process.is_current()
        {
            let _ = signals::without_gil(|| shared.end_span(process));
        }
    }
}

/// Refuses memory that is greater than that of the store.
fn check_room(client: &Client, size: usize) -> Result<()> {
    if size < QUESTIONABLE {
        return Ok(());
    }
    let session = client.plain("HGET", client.key(keys::SESSION));
    let limit = text(&session.arg(keys::MAX_MEMORY).call()?);
    match limit.parse::<usize>() {
        Ok(limit) if size > limit => Err(Error::NoRoom(format!(
            "shared memory of {size} bytes is greater than the store's memory of {limit} bytes: share less, or raise its \
             maxmemory"
        ))),
        _ => Ok(()),
    }
}

impl Shareable for Span {
    fn share(&self) -> Result<()> {
        self.in_store().map(drop)
    }
}
