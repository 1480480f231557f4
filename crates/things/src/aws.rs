//! The AWS account: who asks, where, and each call that is made.

mod calls;
mod certificates;
mod jobs;
mod shadows;

use std::path::PathBuf;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_iot::config::ProvideCredentials;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Builder, Connector, tls};

pub use calls::Created;
pub use certificates::{CertificateState, Issued};
pub use jobs::Job;

use super::cli::AwsArgs;
use super::failure::{Failure, innermost, no_credentials};
use super::pace::Pace;
use super::policy::Place;

/// The AWS IoT Core of one account in one region.
#[derive(Debug)]
pub struct Aws {
    client: aws_sdk_iot::Client,
    /// The data plane, which has the shadows.
    data: aws_sdk_iotdataplane::Client,
    pace: Pace,
    /// The account that the credentials belong to, and the region.
    pub place: Place,
}

/// Where AWS is asked and with which credentials, of which nobody has asked yet whose they are.
#[derive(Debug)]
pub struct Access {
    config: SdkConfig,
    region: String,
}

impl Access {
    /// Finds region and credentials as the AWS SDK does.
    ///
    /// # Errors
    /// If one of them is missing, or both.
    pub async fn find(arguments: &AwsArgs) -> Result<Access, Failure> {
        let config = sdk_config(arguments).await;
        let region = config.region().map(ToString::to_string);
        match (region, credentials(&config, arguments).await) {
            (Some(region), Ok(())) => Ok(Access { config, region }),
            (Some(_), Err(lack)) => Err(lack),
            (None, Ok(())) => Err(no_region(arguments)),
            (None, Err(lack)) => Err(Failure::other(format!("{}; and {lack}", no_region(arguments)))),
        }
    }
}

impl Aws {
    /// Finds region and credentials as the AWS SDK does, and asks whose they are.
    ///
    /// # Errors
    /// If one of them is missing or wrong, or the API can't be reached.
    pub async fn connect(arguments: &AwsArgs) -> Result<Aws, Failure> {
        Aws::with(Access::find(arguments).await?).await
    }

    /// Asks whose the credentials are.
    ///
    /// # Errors
    /// If they are wrong, or the API can't be reached.
    pub async fn with(Access { config, region }: Access) -> Result<Aws, Failure> {
        let identity = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await;
        let identity = identity.map_err(|error| Failure::of("sts:GetCallerIdentity", "whose credentials", &error))?;
        let account = identity.account().map(str::to_owned);
        let account = account.ok_or_else(|| Failure::other("AWS does not say whose the credentials are"))?;
        let client = aws_sdk_iot::Client::new(&config);
        let data = aws_sdk_iotdataplane::Client::new(&config);
        Ok(Aws { client, data, pace: Pace::default(), place: Place { region, account } })
    }
}

/// The region, without asking anybody: for what is only printed.
pub async fn region(arguments: &AwsArgs) -> Option<String> {
    sdk_config(arguments).await.region().map(ToString::to_string)
}

async fn sdk_config(arguments: &AwsArgs) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client());
    if let Some(region) = &arguments.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &arguments.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(url) = &arguments.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    loader.load().await
}

/// HTTPS with the TLS that the bridge has too, through the proxy that the environment names.
fn http_client() -> aws_sdk_iot::config::SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder()
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc));
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.build()
    })
}

fn no_region(arguments: &AwsArgs) -> Failure {
    let profile = profile(arguments).map_or_else(String::new, |name| format!(" (the profile {name:?} names none)"));
    Failure::other(format!(
        "there is no AWS region; choose one with --region, AWS_REGION, or `aws configure set region`{profile}"
    ))
}

/// The profile that somebody asked for.
fn profile(arguments: &AwsArgs) -> Option<String> {
    arguments.profile.clone().or_else(|| std::env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty()))
}

/// Whether the files of the AWS command line name `profile` ("Configuration and credential file settings", AWS CLI user
/// guide).
fn profile_exists(profile: &str) -> bool {
    let home = std::env::var_os("HOME").map_or_else(PathBuf::new, PathBuf::from).join(".aws");
    let heads = [format!("[profile {profile}]"), format!("[{profile}]")];
    [("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")].iter().any(|(variable, name)| {
        let path = std::env::var_os(variable).map_or_else(|| home.join(name), PathBuf::from);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().any(|line| heads.iter().any(|head| line.trim() == head))
    })
}

/// Whether there are credentials, and if not, what to do.
async fn credentials(config: &SdkConfig, arguments: &AwsArgs) -> Result<(), Failure> {
    let profile = profile(arguments);
    if let Some(name) = profile.as_ref().filter(|name| !profile_exists(name)) {
        return Err(Failure::other(format!(
            "there is no profile {name:?} in ~/.aws/config and ~/.aws/credentials; `aws configure list-profiles` shows \
             those that there are"
        )));
    }
    let Some(provider) = config.credentials_provider() else { return Err(Failure::other(no_credentials(None))) };
    let why = match provider.provide_credentials().await {
        Ok(_) => return Ok(()),
        // None of all the places has any.
        Err(error) if error.to_string().contains("not enabled") => None,
        Err(error) => Some(innermost(&error)),
    };
    Err(Failure::other(match profile {
        Some(name) => format!(
            "the profile {name:?} has no usable credentials; run `aws configure --profile {name}`, or `aws sso login \
             --profile {name}`{}",
            why.map_or_else(String::new, |why| format!(" ({why})"))
        ),
        None => no_credentials(why.as_deref()),
    }))
}
