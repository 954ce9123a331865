//! What went wrong with a call, as an error of ours.

use crate::{Error, ErrorKind};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use pgkeep_format::name::ObjectName;
use std::fmt::Debug;

/// What a store answered: its own code and words, and the number it gave the call.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message} (HTTP {status}, request {request})")]
struct Answer {
    code: String,
    message: String,
    status: u16,
    request: String,
}

/// The HTTP status of an answer; absent where none came.
pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Whether the store answered with this code.
pub(super) fn is<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>, code: &str) -> bool {
    error.as_service_error().and_then(E::code) == Some(code)
}

/// The error for an object that the store does not let go.
pub(super) fn retained<E>(name: &ObjectName, error: SdkError<E, HttpResponse>) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    Error::new(ErrorKind::Retained, format!("store does not let object \"{name}\" go"))
        .hint("Wait until its lock is over, or use credentials that may remove (s3:DeleteObject).")
        .because(Chain::of(&error))
}

/// The error for a call that was tried as often as it may be.
pub(super) fn failed<E>(doing: &str, location: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + RequestId + std::error::Error + Send + Sync + 'static,
{
    let message = format!("could not {doing} in \"{location}\"");
    let Some(status) = status(&error) else {
        let hint = match &error {
            SdkError::ConstructionFailure(_) => "Check the credentials and the address.",
            _ => "Check the network and the address: --endpoint URL",
        };
        let kind = match &error {
            SdkError::ConstructionFailure(_) => ErrorKind::Store,
            _ => ErrorKind::StoreUnavailable,
        };
        return Error::new(kind, message).hint(hint).because(Chain::of(&error));
    };
    let (code, said, request) = match error.as_service_error() {
        Some(error) => (error.code(), error.message(), error.meta().request_id()),
        None => (None, None, None),
    };
    let answer = Answer {
        code: code.unwrap_or("no code").to_owned(),
        message: said.unwrap_or("no message").to_owned(),
        status,
        request: request.unwrap_or("without a number").to_owned(),
    };
    let is_passing = matches!(status, 408 | 429 | 500..=599);
    let kind = if is_passing { ErrorKind::StoreUnavailable } else { ErrorKind::Store };
    let error = Error::new(kind, message);
    let error = match (status, answer.code.as_str()) {
        (_, "NoSuchBucket") => error.hint("Make the bucket first, or name another."),
        (401 | 403, _) => error
            .hint("Check the credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE) and what they may do."),
        (301 | 307 | 400, _) => error.hint("Check the region: --region REGION"),
        _ => error,
    };
    error.because(answer)
}

/// An error of the SDK with its causes in one line: its own words are only of what kind it is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Chain(String);

impl Chain {
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        Self(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
    }
}
