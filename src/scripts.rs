//! The scripts: text kept in `.lua` files, hashed once.

use std::sync::LazyLock;

use aws_lc_rs::digest;

pub struct Script {
    pub body: String,
    pub sha: String,
}

impl Script {
    fn new(text: &str) -> Self {
        let body = format!("{}{text}", include_str!("lua/prelude.lua"));
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, body.as_bytes());
        Self {
            sha: hex(hash.as_ref()),
            body,
        }
    }
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
            let _ = write!(out, "{b:02x}");
            out
        })
}

macro_rules! scripts {
    ($($name:ident $file:literal)*) => {
        $(pub static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!(concat!("lua/", $file, ".lua"))));)*
        /// All of them, for loading at the start of a session.
        pub fn all() -> Vec<&'static Script> {
            vec![$(&*$name),*]
        }
    };
}

scripts! {
    CREATE "create" NOTE "note" ATTACH "attach" DETACH "detach" REAP "reap" RENEW "renew" DROP "drop"
    SEM_ACQUIRE "sem_acquire" SEM_RELEASE "sem_release" CANCEL "cancel"
    COND_WAIT "cond_wait" NOTIFY "notify"
    GATE_CHANGE "gate_change" GATE_WAIT "gate_wait"
    BARRIER_WAIT "barrier_wait" BARRIER_END "barrier_end" BARRIER_CANCEL "barrier_cancel"
    SEND "send" ROOM "room" TAKE_OPEN "take_open" TAKE_NOW "take_now" TAKE_MANY "take_many" TAKE_BACK "take_back" TAKE_DONE "take_done" TASK_TAKEN "task_taken" LENGTH "length"
    PUBLISH "publish" FETCH "fetch" NAME "name"
    CLAIM "claim" FINISH "finish"
}
