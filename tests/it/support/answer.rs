//! What a server answered, with the questions that tests ask of it.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// An HTTP answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// What was asked, for messages.
    pub asked: String,
}

impl Answer {
    pub async fn of(asked: String, response: reqwest::Result<reqwest::Response>) -> Answer {
        let response = response.unwrap_or_else(|why| panic!("{asked}: {why:?}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap_or_else(|why| panic!("{asked}: the answer broke off: {why:?}"));
        Answer { status, headers, text, asked }
    }

    /// The body of an answer that must be a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {} {}", self.asked, self.status, self.text);
        self.json()
    }

    /// The problem of an answer that must be a refusal with this status, and look as every refusal does.
    #[track_caller]
    pub fn refused(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}: {}", self.asked, self.text);
        let problem = self.json();
        assert_eq!(problem["status"], status, "{}: {problem}", self.asked);
        for part in ["type", "request_id"] {
            assert!(problem[part].is_string(), "{}: no {part} in {problem}", self.asked);
        }
        problem
    }

    /// The body as JSON; null for an empty one.
    #[track_caller]
    pub fn json(&self) -> Value {
        if self.text.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("{}: {why} in {}", self.asked, self.text))
    }

    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
