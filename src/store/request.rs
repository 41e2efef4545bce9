//! Requests as they are sent to the store, and the reading of replies.

use redis::{Value, cmd};

use crate::error::{Error, Result};
use crate::store::scripts::Script;

pub struct Request {
    /// A script, or a plain command whose repetition changes nothing.
    pub script: Option<&'static Script>,
    /// The first is the key that chooses the node.
    pub keys: Vec<String>,
    /// For a plain command: its name first; then what follows its keys.
    pub args: Vec<Vec<u8>>,
    /// Its place among all commands of the process: by it the scripts know a repetition.
    pub seq: u64,
}

impl Request {
    pub fn pack(&self, caller: &str) -> Vec<u8> {
        let command = if let Some(script) = self.script {
            let mut c = cmd("EVALSHA");
            c.arg(&script.sha)
                .arg(self.keys.len())
                .arg(&self.keys)
                .arg(caller)
                .arg(self.seq);
            for a in &self.args {
                c.arg(a.as_slice());
            }
            c
        } else {
            let mut c = cmd(std::str::from_utf8(&self.args[0]).expect("a command's name is text"));
            c.arg(&self.keys);
            for a in &self.args[1..] {
                c.arg(a.as_slice());
            }
            c
        };
        command.get_packed_command()
    }

    pub fn size(&self) -> usize {
        self.args.iter().map(Vec::len).sum()
    }
}

/// The code of an error reply.
pub fn error_code(value: &Value) -> Option<&str> {
    match value {
        Value::ServerError(e) => Some(e.code()),
        _ => None,
    }
}

/// An error reply as our error.
pub fn checked(value: Value) -> Result<Value> {
    match value {
        Value::ServerError(e) if e.code() == "SMPLOST" => Err(Error::ObjectGone(format!(
            "object {}",
            e.details().unwrap_or_default()
        ))),
        Value::ServerError(e) => Err(Error::Store(format!(
            "store: {} {}",
            e.code(),
            e.details().unwrap_or_default()
        ))),
        value => Ok(value),
    }
}

/// A reply as text; empty for a reply of another type.
pub fn text(value: &Value) -> String {
    match value {
        Value::BulkString(b) => String::from_utf8_lossy(b).into_owned(),
        Value::SimpleString(s) => s.clone(),
        Value::Okay => "ok".into(),
        Value::Int(n) => n.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::parse_redis_value;

    #[test]
    fn an_error_reply_is_ours() {
        let lost = parse_redis_value(b"-SMPLOST smp:{s.o}\r\n").unwrap();
        assert_eq!(error_code(&lost), Some("SMPLOST"));
        assert!(
            matches!(checked(lost), Err(Error::ObjectGone(what)) if what == "object smp:{s.o}")
        );
        let other = parse_redis_value(b"-OOM no memory\r\n").unwrap();
        assert!(
            matches!(checked(other), Err(Error::Store(text)) if text == "store: OOM no memory")
        );
        assert_eq!(checked(Value::Int(1)).unwrap(), Value::Int(1));
    }

    #[test]
    fn replies_as_text() {
        assert_eq!(text(&Value::BulkString(b"ok r:1".to_vec())), "ok r:1");
        assert_eq!(text(&Value::Int(7)), "7");
        assert_eq!(text(&Value::Nil), "");
    }

    #[test]
    fn a_script_is_told_its_caller_and_seq() {
        let script: &'static Script = &crate::store::scripts::LENGTH;
        let request = Request {
            script: Some(script),
            keys: vec!["smp:{s.o}".into()],
            args: vec![b"0".to_vec()],
            seq: 7,
        };
        let expected = redis::cmd("EVALSHA")
            .arg(&script.sha)
            .arg(1)
            .arg("smp:{s.o}")
            .arg("process.1")
            .arg(7)
            .arg("0")
            .get_packed_command();
        assert_eq!(request.pack("process.1"), expected);
        assert_eq!(request.size(), 1);
    }
}
