//! `iot-bridge-things rule`: brings telemetry to another service, through the message broker or by Basic Ingest.

use std::process::ExitCode;

use aws_sdk_iot::error::BuildError;
use aws_sdk_iot::types::{
    Action, CloudwatchLogsAction, RepublishAction, S3Action, TimestreamAction, TimestreamDimension, TopicRulePayload,
};
use serde_json::{Value, json};

use super::aws::Aws;
use super::cli::{AwsArgs, Destination, RuleArgs, RuleCommand};
use super::policy::{Place, partition};
use super::stop::Stop;

/// The version of AWS IoT SQL that AWS recommends ("SQL versions", AWS IoT Core developer guide).
const SQL_VERSION: &str = "2016-03-23";

pub async fn execute(command: RuleCommand, aws: &AwsArgs) -> Result<ExitCode, Stop> {
    match command {
        RuleCommand::Create(rule) => put(rule, aws, false).await,
        RuleCommand::Replace(rule) => put(rule, aws, true).await,
        RuleCommand::Delete { name } => {
            let aws = Aws::connect(aws).await?;
            if !aws.rule_exists(&name).await? {
                return Err(Stop::Failed(format!("there is no rule {name} in the region {}", aws.place.region)));
            }
            aws.delete_rule(&name).await?;
            println!("Deleted the rule {name}.");
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn put(rule: RuleArgs, aws: &AwsArgs, replace: bool) -> Result<ExitCode, Stop> {
    let payload = |role: &str| payload(&rule, role).map_err(|error| Stop::Failed(error.to_string()));
    check(&rule)?;
    let aws = Aws::connect(aws).await?;
    let Some(role) = &rule.role_arn else {
        print_role(&rule, &aws.place);
        return Err(Stop::Usage("nothing was made yet; make the role above and give its ARN with --role-arn".into()));
    };
    match replace {
        true => aws.replace_rule(&rule.name, payload(role)?).await?,
        false => aws.create_rule(&rule.name, payload(role)?).await?,
    }
    println!("The rule {} takes: {}", rule.name, sql(&rule));
    println!(
        "By Basic Ingest, without messaging charges, what is published to $aws/rules/{}/… goes to the rule alone. In the \
         bridge's configuration:\n\n    [[topics]]\n    ros  = \"/odom\"\n    mqtt = \"$aws/rules/{0}/{{thing}}{{ros}}\"\n\n\
         `iot-bridge-things create` then brings the policy up to date.",
        rule.name
    );
    Ok(ExitCode::SUCCESS)
}

fn check(rule: &RuleArgs) -> Result<(), Stop> {
    if rule.to == Destination::Timestream && rule.target.split('/').filter(|part| !part.is_empty()).count() != 2 {
        return Err(Stop::Usage("--target of Timestream is DATABASE/TABLE".into()));
    }
    if rule.topic.contains('\'') {
        return Err(Stop::Usage("--topic can't contain a quote".into()));
    }
    Ok(())
}

fn sql(rule: &RuleArgs) -> String {
    rule.sql.clone().unwrap_or_else(|| format!("SELECT * FROM '{}'", rule.topic))
}

fn payload(rule: &RuleArgs, role: &str) -> Result<TopicRulePayload, BuildError> {
    let (action, target) = (Action::builder(), rule.target.as_str());
    let action = match rule.to {
        Destination::CloudwatchLogs => {
            action.cloudwatch_logs(CloudwatchLogsAction::builder().role_arn(role).log_group_name(target).build()?)
        }
        Destination::S3 => action.s3(
            // AWS IoT fills in the expressions; the time makes each key another one.
            S3Action::builder().role_arn(role).bucket_name(target).key("${topic()}/${timestamp()}").build()?,
        ),
        Destination::Timestream => {
            let (database, table) = target.split_once('/').unwrap_or((target, ""));
            let dimension = TimestreamDimension::builder().name("topic").value("${topic()}").build()?;
            let action_ = TimestreamAction::builder().role_arn(role).database_name(database).table_name(table);
            action.timestream(action_.dimensions(dimension).build()?)
        }
        Destination::Republish => {
            action.republish(RepublishAction::builder().role_arn(role).topic(target).qos(1).build()?)
        }
    };
    TopicRulePayload::builder()
        .sql(sql(rule))
        .aws_iot_sql_version(SQL_VERSION)
        .description("Telemetry of iot-bridge")
        .actions(action.build())
        .build()
}

/// The role that the rule's action needs, as the AWS command line makes it.
fn print_role(rule: &RuleArgs, place: &Place) {
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": "iot.amazonaws.com" },
            "Action": "sts:AssumeRole",
            "Condition": { "StringEquals": { "aws:SourceAccount": place.account } },
        }],
    });
    let name = format!("iot-bridge-{}", rule.name);
    println!("The rule needs an IAM role that AWS IoT Core may take on, {name} for example:\n\n{trust:#}\n");
    println!("with this policy:\n\n{:#}\n", permissions(rule, place));
    println!(
        "Saved as trust.json and policy.json:\n\n    aws iam create-role --role-name {name} \
         --assume-role-policy-document file://trust.json\n    aws iam put-role-policy --role-name {name} --policy-name \
         telemetry --policy-document file://policy.json\n\nWhoever makes the rule needs iam:PassRole for it."
    );
}

fn permissions(rule: &RuleArgs, Place { region, account }: &Place) -> Value {
    let (arn, target) = (format!("arn:{}", partition(region)), &rule.target);
    let statements = match rule.to {
        Destination::CloudwatchLogs => json!([{
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            "Resource": format!("{arn}:logs:{region}:{account}:log-group:{target}:*"),
        }]),
        Destination::S3 => json!([{
            "Effect": "Allow",
            "Action": "s3:PutObject",
            "Resource": format!("{arn}:s3:::{target}/*"),
        }]),
        Destination::Timestream => json!([
            {
                "Effect": "Allow",
                "Action": "timestream:WriteRecords",
                "Resource": format!(
                    "{arn}:timestream:{region}:{account}:database/{}",
                    target.replacen('/', "/table/", 1)
                ),
            },
            { "Effect": "Allow", "Action": "timestream:DescribeEndpoints", "Resource": "*" },
        ]),
        Destination::Republish => json!([{
            "Effect": "Allow",
            "Action": "iot:Publish",
            "Resource": format!("{arn}:iot:{region}:{account}:topic/{target}"),
        }]),
    };
    json!({ "Version": "2012-10-17", "Statement": statements })
}
