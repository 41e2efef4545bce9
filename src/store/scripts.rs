//! The scripts: text kept in `.lua` files, hashed once.

use std::sync::LazyLock;

use aws_lc_rs::digest;

use crate::hex;
use crate::store::keys;

pub struct Script {
    pub body: String,
    pub sha: String,
}

impl Script {
    fn new(text: &str) -> Self {
        let body = [keys::FOR_SCRIPTS, include_str!("../lua/prelude.lua"), text].concat();
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, body.as_bytes());
        Self {
            sha: hex::encode(hash.as_ref()),
            body,
        }
    }
}

macro_rules! scripts {
    ($($name:ident $file:literal)*) => {
        $(pub static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!(concat!("../lua/", $file, ".lua"))));)*
        /// All of them, for loading at the start of a session.
        pub fn all() -> Vec<&'static Script> {
            vec![$(&*$name),*]
        }
    };
}

scripts! {
    CREATE "object/create" NOTE "object/note" ATTACH "object/attach" DETACH "object/detach" REAP "object/reap" RENEW "object/renew" DROP "object/drop"
    SEM_ACQUIRE "lock/acquire" SEM_RELEASE "lock/release" CANCEL "waiter/cancel"
    COND_WAIT "lock/condition_wait" NOTIFY "lock/notify"
    LATCH_CHANGE "latch/change" LATCH_WAIT "latch/wait"
    BARRIER_WAIT "barrier/wait" BARRIER_END "barrier/end" BARRIER_CANCEL "barrier/cancel"
    SEND "pipe/send" CAPACITY "pipe/capacity" TAKE_OPEN "pipe/take_open" TAKE_NOW "pipe/take_now" TAKE_MANY "pipe/take_many" TAKE_BACK "pipe/take_back" TAKE_DONE "pipe/take_done" TASK_BEGUN "pipe/task_begun" LENGTH "pipe/length"
    PUBLISH "memory/publish" FETCH "memory/fetch" NAME "memory/name"
    CLAIM "job/claim" FINISH "job/finish"
}
