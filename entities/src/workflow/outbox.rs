//! Mail that is to be sent: one row for each message and role, written in the transaction that
//! decides on it and sent by the worker afterwards, outside of any transaction.
//!
//! The row holds no text: a template's name and the few values it needs, so that what is sent is
//! worded at the moment of sending and can never hold what a client said. The person is bound at
//! that moment too. Read `worker/src/mail/` for the sending.

use sea_orm::{ConnectionTrait, Value};
use serde::Serialize;

use crate::clock::{Instant, mint_at};
use crate::error::Result;
use crate::sql;

/// Who is to get a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// A user of the agency, at the address they have when it is sent.
    User(String),
    /// An address that belongs to no user yet.
    Address(String),
    /// Whoever holds this role for the case when it is sent: `caseworker` or `supervisor`.
    Role(&'static str),
    /// The users of a partner organisation, or its contact address where it has no user.
    Organization(String),
}

/// What to do when the line broke after the message was handed over but before the server said
/// that it has it: it may have arrived or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResendPolicy {
    /// Wait a quarter of an hour, send once more under the same Message-ID, then hold it.
    Once,
    /// Send again at once: the reader is waiting for it, and two are better than none.
    AtOnce,
}

/// A message to be queued.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Tenant.
    pub agency_id: String,
    /// Identity of the message for ever: a second one with the same key is not queued.
    pub message_key: String,
    /// Name of the template under `worker/templates/`, such as `invitation`.
    pub template: String,
    /// Who gets it.
    pub to: Recipient,
    /// Values for the template. Never a client's name, need, words or address.
    pub data: serde_json::Value,
    /// Not sent before this instant; `None` for at once.
    pub not_before: Option<Instant>,
    /// Suppressed when it could not be sent by then; `None` for never.
    pub expires_at: Option<Instant>,
    /// See [`ResendPolicy`].
    pub resend_policy: ResendPolicy,
}

/// Which rule a message comes from; its guard is asked again just before sending.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Rule id.
    pub rule_id: String,
    /// Rule version at firing.
    pub rule_version: i64,
    /// Step of the rule.
    pub step: String,
    /// Key of the timer that fired.
    pub timer_key: String,
    /// Anchor of the occurrence.
    pub anchor: String,
    /// Table of the subject in the singular, such as `goal`.
    pub subject_kind: String,
    /// Row id of the subject.
    pub subject_id: String,
    /// Case, where there is one.
    pub case_id: Option<String>,
}

/// Queues a message; false when one with this key was queued before. `now` is the transaction's.
pub async fn queue(conn: &impl ConnectionTrait, now: Instant, message: NewMessage) -> Result<bool> {
    queue_from(conn, now, message, None).await
}

/// Queues a message that a rule asks for.
pub async fn queue_from(
    conn: &impl ConnectionTrait,
    now: Instant,
    message: NewMessage,
    origin: Option<&Origin>,
) -> Result<bool> {
    let id = mint_at(now);
    let (role, user, org, address) = match &message.to {
        Recipient::User(id) => ("user", Some(id.clone()), None, None),
        Recipient::Address(address) => ("address", None, None, Some(address.clone())),
        Recipient::Role(role) => (*role, None, None, None),
        Recipient::Organization(id) => ("partner", None, Some(id.clone()), None),
    };
    let resend = match message.resend_policy {
        ResendPolicy::Once => "once",
        ResendPolicy::AtOnce => "at_once",
    };
    let starts = message.not_before.unwrap_or(now).max(now);
    let text = |part: fn(&Origin) -> &str| Value::from(origin.map(|from| part(from).to_owned()));
    let values: Vec<Value> = vec![
        id.as_str().into(),
        message.agency_id.into(),
        message.message_key.into(),
        // The outbox id alone: the host part is put on by the sender, who knows its own domain.
        id.as_str().into(),
        text(|from| &from.rule_id),
        origin.map_or(0, |from| from.rule_version).into(),
        text(|from| &from.step),
        text(|from| &from.timer_key),
        text(|from| &from.anchor),
        text(|from| &from.subject_kind),
        text(|from| &from.subject_id),
        origin.and_then(|from| from.case_id.clone()).into(),
        role.into(),
        user.into(),
        org.into(),
        address.into(),
        message.template.into(),
        message.data.to_string().into(),
        resend.into(),
        starts.0.into(),
        message.expires_at.map(|at| at.0).into(),
        starts.0.into(),
        now.0.into(),
    ];
    let inserted = sql::exec(
        conn,
        "insert into outbound_message (id, agency_id, message_key, message_id, rule_id, rule_version, step, \
         timer_key, anchor, subject_kind, subject_id, case_id, to_role, to_user, to_org, to_address, template, data, \
         resend_policy, not_before, expires_at, next_at, created_at, state, reason, attempts, resent, fence) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, \
         $22, $23, 'queued', '', 0, false, 0) on conflict (message_key) do nothing",
        values,
    )
    .await?;
    Ok(inserted == 1)
}

/// A message as it went out, for the page that shows caught mail.
#[derive(Clone, Debug, Serialize)]
pub struct Caught {
    /// Row id.
    pub id: String,
    /// Address it was sent to.
    pub to: String,
    /// Subject line.
    pub subject: String,
    /// Plain text part.
    pub text: String,
    /// HTML part.
    pub html: String,
    /// Rule it comes from, if any.
    pub rule: Option<String>,
    /// When it was sent.
    pub at: Instant,
}

/// The newest messages that went out, newest first, at most `limit` of them.
pub async fn caught(conn: &impl ConnectionTrait, limit: u64) -> Result<Vec<Caught>> {
    let text = format!("{CAUGHT} order by finished_at desc, id desc limit {limit}");
    sql::all(conn, &text, vec![]).await?.iter().map(read).collect()
}

/// One message that went out.
pub async fn caught_by_id(conn: &impl ConnectionTrait, id: &str) -> Result<Option<Caught>> {
    sql::one(conn, &format!("{CAUGHT} and id = $1"), vec![id.into()]).await?.as_ref().map(read).transpose()
}

const CAUGHT: &str = "select id, coalesce(sent_to, ''), coalesce(subject, ''), coalesce(body_text, ''), \
                      coalesce(body_html, ''), rule_id, finished_at from outbound_message \
                      where state = 'sent' and body_text is not null";

fn read(row: &sea_orm::QueryResult) -> Result<Caught> {
    Ok(Caught {
        id: row.try_get_by_index(0)?,
        to: row.try_get_by_index(1)?,
        subject: row.try_get_by_index(2)?,
        text: row.try_get_by_index(3)?,
        html: row.try_get_by_index(4)?,
        rule: row.try_get_by_index(5)?,
        at: Instant(row.try_get_by_index(6)?),
    })
}
