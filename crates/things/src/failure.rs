//! What went wrong with a call to AWS, in words.

use std::fmt;

use aws_sdk_iot::config::http::HttpResponse;
use aws_sdk_iot::error::{ProvideErrorMetadata, SdkError};

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: Kind,
    /// A sentence without its capital and full stop.
    pub sentence: String,
}

/// What somebody may do something about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What is asked for does not exist.
    NotFound,
    /// It exists already.
    Exists,
    /// It is still in use.
    InUse,
    /// The credentials are not known or have expired, or they lack the permission.
    Denied,
    /// The API did not answer, or not for itself: whether the call was carried out is not known.
    Unanswered,
    /// Everything else.
    Other,
}

impl Failure {
    pub fn other(sentence: impl Into<String>) -> Failure {
        Failure { kind: Kind::Other, sentence: sentence.into() }
    }

    /// The failure of `action`, an IAM action such as `iot:CreateThing`, which was about `what`.
    pub fn of<E>(action: &str, what: &str, error: &SdkError<E, HttpResponse>) -> Failure
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let (code, message) = (error.code().unwrap_or_default(), error.message().unwrap_or_default());
        let (kind, sentence) = match error {
            SdkError::ServiceError(service) => {
                let status = service.raw().status().as_u16();
                (kind_of(code, status), answered(action, what, code, message, status))
            }
            SdkError::ConstructionFailure(_) => {
                (Kind::Other, format!("{action} could not be sent: {}", innermost(error)))
            }
            SdkError::TimeoutError(_) => {
                (Kind::Unanswered, format!("{action} ({what}): the AWS API does not answer in time"))
            }
            _ => (
                Kind::Unanswered,
                format!(
                    "{action} ({what}): the AWS API can't be reached; look at the network, at --region, and, if there is \
                     one, at the proxy (HTTPS_PROXY) or at --endpoint-url: {}",
                    innermost(error)
                ),
            ),
        };
        Failure { kind, sentence }
    }
}

fn kind_of(code: &str, status: u16) -> Kind {
    match code {
        "ResourceNotFoundException" => Kind::NotFound,
        "ResourceAlreadyExistsException" => Kind::Exists,
        "DeleteConflictException" | "ConflictException" | "CertificateStateException" => Kind::InUse,
        "AccessDeniedException"
        | "AccessDenied"
        | "ForbiddenException"
        | "UnauthorizedException"
        | "NotAuthorizedException"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "RequestExpired"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationTokenException" => Kind::Denied,
        _ if status >= 500 => Kind::Unanswered,
        _ => Kind::Other,
    }
}

fn answered(action: &str, what: &str, code: &str, message: &str, status: u16) -> String {
    match code {
        "AccessDeniedException"
        | "AccessDenied"
        | "ForbiddenException"
        | "UnauthorizedException"
        | "NotAuthorizedException" => format!(
            "AWS does not allow {action} ({what}): the IAM permission {action} is missing; docs/provisioning.md lists what \
             each subcommand needs{}",
            said(message)
        ),
        "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" => {
            format!("the credentials have expired; log in again (aws sso login){}", said(message))
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationTokenException" => format!(
            "AWS does not know these credentials, or the clock is wrong; look at them with `aws configure list`{}",
            said(message)
        ),
        // A job that was made goes on by itself, and the command would make another one.
        "ThrottlingException" | "LimitExceededException" if is_of_a_job(action) => {
            format!("{action} ({what}) is over a limit of the account{}", said(message))
        }
        "ThrottlingException" | "LimitExceededException" => {
            format!("{action} ({what}) is over a limit of the account{}; run the command again to go on", said(message))
        }
        "" => format!("{action} ({what}): the address answers with status {status}, not as the AWS API does"),
        code => format!("{action} ({what}) failed: {code}{}", said(message)),
    }
}

/// Whether `action` asks for a job that was made.
fn is_of_a_job(action: &str) -> bool {
    action.contains("Job") && action != "iot:CreateJob"
}

/// There are no credentials, because of `why`.
pub fn no_credentials(why: Option<&str>) -> String {
    format!(
        "there are no AWS credentials; run `aws configure` or `aws sso login`, choose a profile with --profile, or set \
         AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY{}",
        why.map_or_else(String::new, |why| format!(" ({why})"))
    )
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" (AWS says: {message})") }
}

/// What the innermost cause says: the outer ones only say that something failed.
pub fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source()).last().map_or_else(String::new, ToString::to_string)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who runs a command again goes on, but not where it would make another job.
    #[test]
    fn again_is_advised_where_it_goes_on() {
        for (action, is_advised) in [
            ("iot:CreateThing", true),
            ("iot:CreateJob", true),
            ("iot:DescribeJob", false),
            ("iot:ListJobExecutionsForJob", false),
        ] {
            let sentence = answered(action, "x", "ThrottlingException", "Rate exceeded", 429);
            assert_eq!(sentence.contains("run the command again"), is_advised, "{sentence}");
        }
    }
}
