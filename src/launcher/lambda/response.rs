//! The meaning of Lambda's responses for a process: how it ended, or whether to try again. The messages say what to do.

use std::time::Duration;

use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::base64;
use aws_smithy_types::retry::ErrorKind;
use serde_json::Value;

use crate::exit_codes;
use crate::launcher::invocation_queue::{GivenUp, InvocationOutcome};

pub struct WorkerEnd {
    pub code: i32,
    pub message: String,
}

pub enum Response {
    /// The supervisor's report: the jobs that others had taken. The rest have ended, as the store says.
    Report(Vec<String>),
    /// The invocation failed, and its processes with it.
    Ended(WorkerEnd),
    /// The function may have run or not.
    Doubtful(String),
    /// The function did not run; the time after which to try again, if the service gave one.
    NotNow(Option<Duration>, String),
    /// There was no connection.
    Unreachable(String),
}

impl Response {
    pub fn outcome(&self) -> InvocationOutcome {
        match self {
            Self::Report(_) | Self::Ended(_) => InvocationOutcome::Answered,
            Self::NotNow(..) => InvocationOutcome::Refused,
            Self::Doubtful(_) => InvocationOutcome::Broken,
            Self::Unreachable(_) => InvocationOutcome::Unreachable,
        }
    }
}

fn end(code: i32, message: impl Into<String>) -> WorkerEnd {
    WorkerEnd {
        code,
        message: message.into(),
    }
}

pub fn vanished(function: &str) -> WorkerEnd {
    end(
        exit_codes::UNKNOWN,
        format!(
            "its connection to function {function} broke, and its worker's lease has ended; `serverless-mp logs` may say why"
        ),
    )
}

pub fn not_begun(function: &str) -> WorkerEnd {
    end(
        exit_codes::UNKNOWN,
        format!(
            "function {function} answered without having begun it; `serverless-mp doctor` may say what does not fit"
        ),
    )
}

pub fn abandoned(function: &str, given_up: &GivenUp, why: &str) -> WorkerEnd {
    let message = match given_up {
        GivenUp::NoneRuns(time) => format!(
            "function {function} could not be invoked for {} s: {why}; raise the concurrency of the function or the \
             account, start fewer processes (SERVERLESS_MP_WORKERS), or wait longer (SERVERLESS_MP_START_TIMEOUT)",
            time.as_secs()
        ),
        GivenUp::Stalled(time) => format!(
            "function {function} could not be invoked ({why}), and no process has begun or ended for {} s: those that run \
             may wait for this one; raise the concurrency of the function or the account, start fewer processes \
             (SERVERLESS_MP_WORKERS), or wait longer (SERVERLESS_MP_STALL_TIMEOUT)",
            time.as_secs()
        ),
    };
    end(exit_codes::UNAVAILABLE, message)
}

pub fn too_large(size: usize, most: usize) -> WorkerEnd {
    end(
        exit_codes::MISCONFIGURED,
        format!(
            "the event of {size} bytes is above Lambda's limit of {most}; lower SERVERLESS_MP_PROCESSES_PER_FUNCTION"
        ),
    )
}

/// The milliseconds that Lambda bills for an invocation, initialisation included, by the tail of its log in base64.
pub fn billed(log: &str) -> Option<u64> {
    let log = base64::decode(log).ok()?;
    let text = String::from_utf8_lossy(&log);
    let report = text
        .lines()
        .rev()
        .find(|line| line.starts_with("REPORT "))?;
    let (_, rest) = report.split_once("Billed Duration: ")?;
    rest.split_once(' ')?.0.parse().ok()
}

/// Reads a response with status 200: the supervisor's report, or how the function failed.
pub fn read(function: &str, error: Option<&str>, payload: &[u8]) -> Response {
    let body: Value = serde_json::from_slice(payload).unwrap_or_default();
    if error.is_some() {
        return Response::Ended(failed(function, &body, payload));
    }
    let report = &body["serverless_mp"];
    if let Some(why) = report["refused"].as_str() {
        return Response::Ended(end(
            exit_codes::UNAVAILABLE,
            format!("function {function}: {why}"),
        ));
    }
    let Some(taken) = report["taken"].as_array() else {
        let why = format!(
            "function {function} does not run our handler: it answered {:.200}; deploy it with `serverless-mp deploy`",
            String::from_utf8_lossy(payload)
        );
        return Response::Ended(end(exit_codes::MISCONFIGURED, why));
    };
    let taken = taken.iter().filter_map(Value::as_str).map(str::to_owned);
    Response::Report(taken.collect())
}

/// The end for a `FunctionError`: by its type if AWS gives one, else by its message.
fn failed(function: &str, body: &Value, payload: &[u8]) -> WorkerEnd {
    let kind = body["errorType"].as_str().unwrap_or_default();
    let words = body["errorMessage"]
        .as_str()
        .map_or_else(|| String::from_utf8_lossy(payload), Into::into);
    let words = words.trim();
    if kind == "Sandbox.Timedout" || words.contains("Task timed out after") {
        return end(
            exit_codes::TIME_LIMIT,
            format!(
                "function {function} reached its time limit: {words}; raise it (`serverless-mp deploy --timeout`, 900 s at most) or \
                 split the work"
            ),
        );
    }
    if kind == "Runtime.OutOfMemory" || words.contains("signal: killed") {
        return end(
            exit_codes::KILLED,
            format!(
                "function {function} ran out of memory: {words}; raise it (`serverless-mp deploy --memory`)"
            ),
        );
    }
    if kind.starts_with("Runtime.ImportModule")
        || kind.starts_with("Runtime.HandlerNotFound")
        || words.contains("Unable to import module")
    {
        return end(
            exit_codes::MISCONFIGURED,
            format!(
                "function {function} cannot load our handler: {words}; is the layer there? `serverless-mp deploy` puts it there"
            ),
        );
    }
    if kind == "Runtime.ExitError" || words.contains("Worker process died") {
        return end(
            exit_codes::FAILED,
            format!(
                "function {function} ended before its processes did: {words}; see `serverless-mp logs`"
            ),
        );
    }
    end(
        exit_codes::FAILED,
        format!("function {function} failed: {kind}: {words}; see `serverless-mp logs`"),
    )
}

/// Reads any other response.
pub fn refused<E>(function: &str, error: &SdkError<E, HttpResponse>) -> Response
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(_) | SdkError::ResponseError(_) => {}
        SdkError::DispatchFailure(failure) if failure.is_io() => {
            return Response::Doubtful(format!("the connection to Lambda broke: {}", words(error)));
        }
        SdkError::DispatchFailure(failure)
            if failure.as_other() == Some(ErrorKind::TransientError) =>
        {
            return Response::Unreachable(format!(
                "Lambda's endpoint does not answer: {}",
                words(error)
            ));
        }
        _ => return Response::Ended(explain(function, error)),
    }
    let raw = error.raw_response();
    let status = raw.map_or(0, |r| r.status().as_u16());
    let after = raw
        .and_then(|r| r.headers().get("retry-after"))
        .and_then(|text| text.parse().ok())
        .map(Duration::from_secs);
    let why = format!("{status} {}", said(error));
    match status {
        // Too many requests; or the function is being updated, or is waking up.
        408 | 409 | 429 => Response::NotNow(after, why),
        // The function may have begun nevertheless; or its response broke off.
        0..400 | 500.. => Response::Doubtful(why),
        _ => Response::Ended(explain(function, error)),
    }
}

/// The end for an error that another attempt would not fix.
pub fn explain<E>(function: &str, error: &SdkError<E, HttpResponse>) -> WorkerEnd
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let kind = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code)
        .unwrap_or_default();
    let words = said(error);
    match kind {
        "ResourceNotFoundException" => end(
            exit_codes::MISCONFIGURED,
            format!(
                "there is no function {function} in this region and account: deploy it with `serverless-mp deploy`, or name another one in \
                 SERVERLESS_MP_FUNCTION ({words})"
            ),
        ),
        "AccessDeniedException"
        | "AccessDenied"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException" => end(
            exit_codes::NOT_ALLOWED,
            format!(
                "AWS refuses these credentials for function {function}: {words}; they need lambda:InvokeFunction and \
                 lambda:GetFunctionConfiguration on it"
            ),
        ),
        "" if words.contains("credentials") => end(
            exit_codes::NOT_ALLOWED,
            format!(
                "no AWS credentials were found: run `aws configure`, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; \
                 a profile that signs in (`aws sso login`, `aws login`) needs boto3: pip install boto3 ({words})"
            ),
        ),
        "" => end(
            exit_codes::UNAVAILABLE,
            format!("Lambda's endpoint does not answer: {words}"),
        ),
        _ => end(
            exit_codes::MISCONFIGURED,
            format!("Lambda refuses to invoke function {function}: {words}"),
        ),
    }
}

/// The service's message; without one, the error with its causes.
fn said<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error.as_service_error().map(|e| (e.code(), e.message())) {
        Some((Some(code), Some(message))) => format!("{code}: {message}"),
        _ => words(error),
    }
}

/// An error with its causes, which the SDK's own message leaves out.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}
