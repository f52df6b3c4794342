//! Somebody with an account and a device, speaking to the server over HTTP.

use std::sync::{Arc, Mutex};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::answer::Answer;
use super::database::uuid_text;
use super::documented::is_documented;

/// The password of everybody in tests, as in the sample agencies.
pub const PASSWORD: &str = "fieldstone-demo";

/// A person who is logged in, or who is not yet. Clones share one session.
#[derive(Clone, Debug)]
pub struct Person {
    base: String,
    http: reqwest::Client,
    pub email: String,
    pub device_id: String,
    session: Arc<Mutex<Value>>,
}

impl Person {
    /// Somebody with an email address and a device of their own at the server of this URL; not logged in.
    pub fn at(base: &str, email: &str) -> Person {
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let device_id = format!("device-{}", uuid_text());
        let session = Arc::new(Mutex::new(Value::Null));
        Person { base: base.trim_end_matches('/').to_owned(), http, email: email.to_owned(), device_id, session }
    }

    /// The same account on another device; not logged in.
    pub fn on_another_device(&self) -> Person {
        Person::at(&self.base, &self.email)
    }

    /// Somebody else on the same device; not logged in.
    pub fn hands_the_phone_to(&self, email: &str) -> Person {
        Person { device_id: self.device_id.clone(), ..Person::at(&self.base, email) }
    }

    /// The same session against another server process.
    pub fn through(&self, base: &str) -> Person {
        Person { base: base.trim_end_matches('/').to_owned(), ..self.clone() }
    }

    /// Logs in and keeps the session.
    pub async fn logs_in(&self) -> Value {
        let session = self.tries_to_log_in(PASSWORD).await.ok();
        self.keeps(session.clone());
        session
    }

    /// Keeps the session of an answer.
    pub fn keeps(&self, session: Value) {
        *self.session.lock().expect("no test panicked here") = session;
    }

    /// Asks for a session and keeps nothing.
    pub async fn tries_to_log_in(&self, password: &str) -> Answer {
        let who = json!({
            "email": self.email, "password": password, "device_id": self.device_id, "device_name": "Test phone",
        });
        let request = self.http.post(self.url("/auth/login")).json(&who);
        answers(format!("{} logs in", self.email), request).await
    }

    /// What the login answered: tokens, user, sync bounds.
    pub fn session(&self) -> Value {
        self.session.lock().expect("no test panicked here").clone()
    }

    /// The access token in use.
    pub fn token(&self) -> String {
        self.session()["access_token"].as_str().expect("logged in").to_owned()
    }

    pub fn user_id(&self) -> String {
        self.session()["user"]["id"].as_str().expect("logged in").to_owned()
    }

    /// An address under `/api/v1`, or from the root when it starts with `//`.
    fn url(&self, path: &str) -> String {
        match path.strip_prefix("//") {
            Some(from_root) => format!("{}/{from_root}", self.base),
            None => format!("{}/api/v1{path}", self.base),
        }
    }

    /// A request of one's own making, with this person's token on it.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, self.url(path));
        match self.session()["access_token"].as_str() {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request; where the token has run out because the test moved the clock, logs in again and repeats it.
    pub async fn send(&self, asked: &str, request: RequestBuilder) -> Answer {
        let asked = format!("{}: {asked}", self.email);
        let again = request.try_clone();
        let answer = answers(asked.clone(), request).await;
        match again {
            Some(again) if answer.status == 401 && !self.session().is_null() => {
                self.logs_in().await;
                let token = self.session()["access_token"].as_str().unwrap_or_default().to_owned();
                let (client, built) = again.build_split();
                let mut built = built.unwrap_or_else(|why| panic!("{asked}: {why}"));
                built.headers_mut().remove("authorization");
                answers(asked, RequestBuilder::from_parts(client, built).bearer_auth(token)).await
            }
            _ => answer,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path}"), self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(&format!("POST {path} {body}"), self.request(Method::POST, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(&format!("DELETE {path}"), self.request(Method::DELETE, path)).await
    }

    /// A merge patch on the version that was read last; reads it first.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        let read = self.get(path).await;
        let version = read.header("etag").to_owned();
        assert!(!version.is_empty(), "{}: no ETag: {} {}", read.asked, read.status, read.text);
        self.patch_at(path, &version, body).await
    }

    /// A merge patch on a version of the caller's choice.
    pub async fn patch_at(&self, path: &str, version: &str, body: Value) -> Answer {
        let request = self.request(Method::PATCH, path).header("if-match", version).json(&body);
        self.send(&format!("PATCH {path} {body}"), request).await
    }
}

/// Sends it; the answer is one that the document promises.
async fn answers(asked: String, request: RequestBuilder) -> Answer {
    let (client, built) = request.build_split();
    let built = built.unwrap_or_else(|why| panic!("{asked}: {why}"));
    let (method, path) = (built.method().to_string(), built.url().path().to_owned());
    let answer = Answer::of(asked, client.execute(built).await).await;
    is_documented(&method, &path, answer.status, &answer.headers);
    answer
}
