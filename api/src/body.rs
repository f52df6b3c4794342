//! Reading a request's body, slowly trusted.
//!
//! The framework never cuts a slow body, takes an unknown Content-Encoding for plain text and lets
//! the last of two equal keys win, so bodies are read here: by deadline, by size before and after
//! inflation, by encoding, and as JSON without surprises. Handlers take [`JsonBody`], moves [`MaybeBody`]; sync calls
//! [`read`] with its own limits. `form.rs` turns the JSON into values.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io::Read;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{self, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::http::{ConnectionType, header};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use bytes::{Bytes, BytesMut};
use entities::Fault;
use futures_util::{Stream, StreamExt};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use tokio::time::{Instant, timeout_at};

use crate::problem::Problem;
use crate::session;

/// How large and how slow a body may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes on the wire.
    pub raw: usize,
    /// Bytes after inflation.
    pub inflated: usize,
    /// Time until the first byte.
    pub first_byte: Duration,
    /// Time for the whole body; each `RATE` bytes received add a second.
    pub total: Duration,
}

/// Bytes a second below which a body counts as held open on purpose.
const RATE: usize = 16 * 1024;
/// Inflated bytes for each byte on the wire beyond the first MiB.
const RATIO: usize = 200;

impl Limits {
    /// REST: 2 MiB.
    pub const REST: Limits = Limits::of(2 << 20);
    /// Sync: 16 MiB.
    pub const SYNC: Limits = Limits::of(16 << 20);

    /// The form of a page: 16 KiB.
    pub const FORM: Limits = Limits::of(16 << 10);

    const fn of(bytes: usize) -> Limits {
        Limits { raw: bytes, inflated: bytes, first_byte: Duration::from_secs(10), total: Duration::from_secs(30) }
    }

    fn exceeded(&self) -> Problem {
        Problem::TooLarge { max_bytes: self.inflated, max_rows: None }
    }
}

/// Reads the whole body within the limits and inflates it where it is gzip. Then makes sure that who
/// sends it may still pass.
///
/// # Errors
/// 400 for a broken body, 408 for a slow one, 413 for a large one, 415 for an unknown encoding; 401 and 403
/// for one that came too late.
pub async fn read(req: &HttpRequest, payload: &mut dev::Payload, limits: Limits) -> Result<Bytes, Problem> {
    let bytes = unpacked(req, payload, limits).await?;
    session::still_stands(req).await?;
    Ok(bytes)
}

async fn unpacked(req: &HttpRequest, payload: &mut dev::Payload, limits: Limits) -> Result<Bytes, Problem> {
    let gzip = is_gzip(req)?;
    let declared =
        req.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limits.raw) {
        return Err(limits.exceeded());
    }
    let raw = match receive(payload, declared.unwrap_or(0), limits).await {
        Err(Problem::Slow) => {
            req.extensions_mut().insert(Unread(payload.take()));
            return Err(Problem::Slow);
        }
        received => received?,
    };
    if !gzip {
        return Ok(raw);
    }
    if raw.len() <= 16 * 1024 {
        return inflate(&raw, limits);
    }
    web::block(move || inflate(&raw, limits)).await.map_err(|_| Problem::Busy { retry_after: 1 })?
}

/// A body that did not come in time. The framework reads on for what is left of a body that nobody
/// holds, and would do so for as long as it does not come; with one that is held it ends the line.
struct Unread(#[expect(dead_code, reason = "it is held, not read")] dev::Payload);

/// A body of no declared length, which whoever is to read it and the door both hold.
#[derive(Clone)]
pub struct Endless(Rc<RefCell<Inside>>);

struct Inside {
    payload: dev::Payload,
    ended: bool,
}

impl Endless {
    /// Holds a request's body where its length is not declared. An answer may go out before such a body has ended, or
    /// without a look at it, and it may never end.
    pub fn of(req: &mut ServiceRequest) -> Option<Endless> {
        if !req.headers().contains_key(header::TRANSFER_ENCODING) {
            return None;
        }
        let endless = Endless(Rc::new(RefCell::new(Inside { payload: req.take_payload(), ended: false })));
        req.set_payload(dev::Payload::Stream { payload: Box::pin(endless.clone()) });
        Some(endless)
    }

    /// Ends the line with the answer where the body has not ended.
    pub fn leave(&self, answer: HttpResponse) -> HttpResponse {
        let mut inside = self.0.borrow_mut();
        if inside.ended {
            return answer;
        }
        let rest = Unread(std::mem::replace(&mut inside.payload, dev::Payload::None));
        let mut answer = answer.map_body(|_, body| BoxBody::new(Holding { body, _rest: rest }));
        answer.head_mut().set_connection_type(ConnectionType::Close);
        answer
    }
}

impl fmt::Debug for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endless(..)")
    }
}

impl Stream for Endless {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut inside = self.0.borrow_mut();
        let polled = Pin::new(&mut inside.payload).poll_next(cx);
        inside.ended |= matches!(polled, Poll::Ready(None));
        polled
    }
}

/// An answer that holds what is left of the request's body.
struct Holding {
    body: BoxBody,
    _rest: Unread,
}

/// Lets an answer hold what is left of the request's body, where it did not come in time.
pub fn holding(req: &HttpRequest, body: BoxBody) -> BoxBody {
    match req.extensions_mut().remove::<Unread>() {
        Some(rest) => BoxBody::new(Holding { body, _rest: rest }),
        None => body,
    }
}

impl MessageBody for Holding {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(cx)
    }
}

async fn receive(payload: &mut dev::Payload, expected: usize, limits: Limits) -> Result<Bytes, Problem> {
    let start = Instant::now();
    let mut body = BytesMut::with_capacity(expected.min(64 * 1024));
    loop {
        let deadline = if body.is_empty() {
            start + limits.first_byte
        } else {
            start + limits.total + Duration::from_secs((body.len() / RATE) as u64)
        };
        match timeout_at(deadline, payload.next()).await {
            Err(_) => return Err(Problem::Slow),
            Ok(None) => return Ok(body.freeze()),
            Ok(Some(Err(error))) => return Err(Problem::from(&error)),
            Ok(Some(Ok(chunk))) if body.len() + chunk.len() > limits.raw => return Err(limits.exceeded()),
            Ok(Some(Ok(chunk))) => body.extend_from_slice(&chunk),
        }
    }
}

fn is_gzip(req: &HttpRequest) -> Result<bool, Problem> {
    let unknown = Problem::Unsupported("unsupported_encoding");
    let mut values = req.headers().get_all(header::CONTENT_ENCODING);
    let Some(value) = values.next() else { return Ok(false) };
    if values.next().is_some() {
        return Err(unknown);
    }
    match value.to_str().map(|text| text.trim().to_ascii_lowercase()).as_deref() {
        Ok("identity" | "") => Ok(false),
        Ok("gzip" | "x-gzip") => Ok(true),
        _ => Err(unknown),
    }
}

fn inflate(raw: &[u8], limits: Limits) -> Result<Bytes, Problem> {
    let allowed = limits.inflated.min((1 << 20) + raw.len().saturating_mul(RATIO));
    let mut out = Vec::with_capacity(raw.len().saturating_mul(4).min(allowed));
    let mut decoder = flate2::read::MultiGzDecoder::new(raw).take(allowed as u64 + 1);
    decoder.read_to_end(&mut out).map_err(|_| Problem::malformed("the body is not valid gzip"))?;
    if out.len() > allowed {
        return Err(limits.exceeded());
    }
    Ok(out.into())
}

/// Parses JSON, refusing what two readers could understand in two ways: equal keys in one object,
/// a byte order mark, lone surrogates, more than 127 levels.
///
/// # Errors
/// 400 in all these cases, without the parser's own words.
pub fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(value)) => Ok(value),
        Err(error) if error.to_string().starts_with(DOUBLED) => {
            Err(Problem::malformed("an object in the body has the same key twice"))
        }
        Err(_) => Err(Problem::malformed("the body is not readable JSON")),
    }
}

/// Every text and key in the value that holds a NUL, which PostgreSQL cannot store.
pub fn nul_faults(value: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    look_for_nul(value, &mut String::new(), &mut faults);
    faults
}

fn look_for_nul(value: &Value, at: &mut String, faults: &mut Vec<Fault>) {
    let refuse = |pointer: String| Fault { pointer, code: "nul", detail: "holds a NUL character".into() };
    match value {
        Value::String(text) if text.contains('\0') => faults.push(refuse(at.clone())),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let length = at.len();
                at.push_str(&format!("/{index}"));
                look_for_nul(item, at, faults);
                at.truncate(length);
            }
        }
        Value::Object(members) => {
            for (key, item) in members {
                if key.contains('\0') {
                    faults.push(refuse(at.clone()));
                    continue;
                }
                let length = at.len();
                at.push('/');
                at.push_str(&key.replace('~', "~0").replace('/', "~1"));
                look_for_nul(item, at, faults);
                at.truncate(length);
            }
        }
        _ => {}
    }
}

/// A REST body: JSON within [`Limits::REST`], without NUL.
#[derive(Debug)]
pub struct JsonBody(pub Value);

impl FromRequest for JsonBody {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(req: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let (req, mut payload) = (req.clone(), payload.take());
        Box::pin(async move { Ok(JsonBody(checked(&read(&req, &mut payload, Limits::REST).await?)?)) })
    }
}

/// The same where the request may do without a body, which then is null.
#[derive(Debug)]
pub struct MaybeBody(pub Value);

impl FromRequest for MaybeBody {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(req: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let (req, mut payload) = (req.clone(), payload.take());
        Box::pin(async move {
            let bytes = read(&req, &mut payload, Limits::REST).await?;
            Ok(MaybeBody(if bytes.is_empty() { Value::Null } else { checked(&bytes)? }))
        })
    }
}

fn checked(bytes: &[u8]) -> Result<Value, Problem> {
    let value = parse(bytes)?;
    let faults = nul_faults(&value);
    if faults.is_empty() { Ok(value) } else { Err(Problem::Invalid(faults)) }
}

const DOUBLED: &str = "doubled key";

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let Strict(value) = members.next_value()?;
            if object.insert(key, value).is_some() {
                return Err(de::Error::custom(DOUBLED));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use actix_web::test::TestRequest;
    use serde_json::json;

    use super::*;

    fn status(result: Result<impl fmt::Debug, Problem>) -> u16 {
        result.map_or_else(|problem| problem.status().as_u16(), |_| 200)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default()
    }

    async fn sent(encodings: &[&str], body: Vec<u8>) -> u16 {
        let mut request = TestRequest::post().set_payload(body);
        for encoding in encodings {
            request = request.append_header((header::CONTENT_ENCODING, *encoding));
        }
        let (req, mut payload) = request.to_http_parts();
        status(read(&req, &mut payload, Limits::REST).await)
    }

    #[test]
    fn json_that_two_readers_could_read_differently_is_refused() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for (text, expected) in [
            (r#"{"a":1}"#.to_owned(), 200),
            (r#"{"a":1,"a":2}"#.to_owned(), 400),
            (r#"{"x":[{"a":1,"a":1}]}"#.to_owned(), 400),
            (r#""\ud800""#.to_owned(), 400),
            ("\u{feff}{}".to_owned(), 400),
            ("1e400".to_owned(), 400),
            (String::new(), 400),
            ("{} x".to_owned(), 400),
            (deep(127), 200),
            (deep(128), 400),
        ] {
            assert_eq!(status(parse(text.as_bytes())), expected, "{text}");
        }
        assert_eq!(status(parse(b"\"\xff\"")), 400);
    }

    #[test]
    fn every_nul_is_named_by_its_pointer() {
        let faults = nul_faults(&json!({"a": "x\0", "b": [{"c/d": "\0"}], "e": "fine"}));
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/a", "/b/0/c~1d"]);
    }

    #[actix_web::test]
    async fn an_unknown_or_doubled_encoding_is_415() {
        assert_eq!(sent(&[], b"{}".to_vec()).await, 200);
        assert_eq!(sent(&["identity"], b"{}".to_vec()).await, 200);
        assert_eq!(sent(&["gzip"], gzip(b"{}")).await, 200);
        assert_eq!(sent(&["zzz"], b"{}".to_vec()).await, 415);
        assert_eq!(sent(&["gzip, gzip"], gzip(b"{}")).await, 415);
        assert_eq!(sent(&["gzip", "gzip"], gzip(b"{}")).await, 415);
        assert_eq!(sent(&["gzip"], b"not gzip".to_vec()).await, 400);
    }

    #[actix_web::test]
    async fn size_counts_after_inflation() {
        assert_eq!(sent(&[], vec![b' '; (2 << 20) + 1]).await, 413);
        assert_eq!(sent(&["gzip"], gzip(&vec![b' '; (2 << 20) + 1])).await, 413);
        assert_eq!(sent(&["gzip"], gzip(&vec![0; 64 << 20])).await, 413);
    }

    #[actix_web::test]
    async fn a_body_that_never_comes_is_given_up() {
        let (req, _) = TestRequest::post().to_http_parts();
        let mut payload: dev::Payload = dev::Payload::Stream { payload: Box::pin(futures_util::stream::pending()) };
        let limits = Limits { first_byte: Duration::from_millis(5), ..Limits::REST };
        assert_eq!(status(read(&req, &mut payload, limits).await), 408);
    }
}
