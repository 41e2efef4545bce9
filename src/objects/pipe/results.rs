//! The results of tasks that a thread has taken together.
//!
//! The result of the last of them is sent by the script that takes the next tasks. Those before it are appended to a list by plain
//! commands, which cost the store a fraction of what a script does, and are written together with that script; it passes them on,
//! and acknowledges their tasks. If a task lasts long, or the process dies, the results that are there are passed on, too.

use super::{PipeEnd, Sent};
use crate::error::Result;
use crate::kept;
use crate::locked::Locked;
use crate::objects::batch::Results;
use crate::objects::process::Process;
use crate::store::keys;
use crate::store::request::{Slot, is_on_its_way};
use crate::store::scripts;

impl PipeEnd {
    /// How many results of this thread's batch were sent.
    pub(super) fn results_sent(&self, caller: &str) -> u64 {
        let results = self.results.locked();
        let own = results.as_ref().filter(|results| results.caller == caller);
        own.map_or(0, |results| results.sent)
    }

    /// Sends the next result of this thread's batch, with the thread's next command; false if it has no batch.
    pub(super) fn post_to_batch(
        &self,
        process: &Process,
        caller: &str,
        payload: &[u8],
        slot: &Slot,
    ) -> Result<bool> {
        let Some((key, number)) = self.next_of_batch(process, caller) else {
            return Ok(false);
        };
        let versions = process.memory.publish(process)?;
        let packed = self.pack(process, Sent::Result, &versions, payload)?;
        self.drop_task_blob(process)?;
        let mut numbered = format!("{number} ").into_bytes();
        numbered.extend_from_slice(&packed.item);
        kept::give(packed.item);
        let append = process.plain("RPUSHX", key).bytes(numbered);
        let posted = append.hold_for(slot);
        if (posted.is_ok() || is_on_its_way(slot))
            && let Some(results) = &mut *self.results.locked()
        {
            results.sent = number;
        }
        posted.map(|()| true)
    }

    /// The list of this thread's results, and the number of the next one.
    fn next_of_batch(&self, process: &Process, caller: &str) -> Option<(String, u64)> {
        let results = self.results.locked();
        let own = results
            .as_ref()
            .filter(|results| results.caller == caller)?;
        let key = keys::progress(&process.key(&self.id), caller, own.batch.name);
        Some((key, own.sent + 1))
    }

    /// Has the results passed on that this thread has sent, if the tasks after them have gone back.
    pub(super) fn pass_on_results(&self, process: &Process, caller: &str) -> Result<()> {
        let sent = self.end_batch(process, caller);
        if sent == 0 {
            return Ok(());
        }
        let script = process.script(&scripts::GIVE_BACK, &self.id);
        let script = script.arg(self.end).arg(caller).arg(0).arg(0).arg(0);
        script.arg(sent).post()
    }

    /// Forgets this thread's batch, since no task of it is left. Returns how many results were sent.
    pub(super) fn end_batch(&self, process: &Process, caller: &str) -> u64 {
        if let Some(ahead) = self.ahead(process) {
            ahead.forget_empty(caller);
        }
        let is_own = |results: &mut Results| results.caller == caller;
        let own = self.results.locked().take_if(is_own);
        own.map_or(0, |results| results.sent)
    }
}
