//! A client that costs next to nothing: bytes over a kept connection, so that what is measured is the server.

use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// One connection, kept.
#[derive(Debug)]
pub struct Wire(BufReader<TcpStream>);

impl Wire {
    /// Connects to `http://HOST:PORT`.
    pub async fn open(url: &str) -> Wire {
        let stream = TcpStream::connect(host(url)).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        Wire(BufReader::new(stream))
    }

    /// Sends a request and reads the answer's status and body to the end.
    pub async fn ask(&mut self, request: &[u8]) -> (u16, Vec<u8>) {
        self.0.get_mut().write_all(request).await.expect("the server takes the request");
        let mut line = String::new();
        self.0.read_line(&mut line).await.expect("a status line");
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let (mut length, mut chunked) = (0, false);
        loop {
            line.clear();
            self.0.read_line(&mut line).await.expect("a header");
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            chunked |= header.starts_with("transfer-encoding:") && header.contains("chunked");
        }
        let mut body = Vec::new();
        if !chunked {
            self.read(length, &mut body).await;
            return (status, body);
        }
        loop {
            line.clear();
            self.0.read_line(&mut line).await.expect("a chunk's length");
            let length = usize::from_str_radix(line.trim(), 16).expect("a length in hex");
            self.read(length, &mut body).await;
            self.0.read_line(&mut line).await.expect("the end of a chunk");
            if length == 0 {
                return (status, body);
            }
        }
    }

    async fn read(&mut self, length: usize, into: &mut Vec<u8>) {
        let from = into.len();
        into.resize(from + length, 0);
        self.0.read_exact(&mut into[from..]).await.expect("the whole body");
    }
}

/// A GET as bytes.
pub fn get(url: &str, path: &str, token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n", host(url)).into_bytes()
}

/// A POST as bytes.
pub fn post(url: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        host(url),
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// Answers a second to the same request over so many connections for so long. Every answer must be a 200.
pub async fn rate(url: &str, request: &[u8], connections: usize, during: Duration) -> f64 {
    let until = Instant::now() + during;
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let (mut wire, request) = (Wire::open(url).await, request.to_vec());
        tasks.push(tokio::spawn(async move {
            let mut answers = 0_u32;
            while Instant::now() < until {
                assert_eq!(wire.ask(&request).await.0, 200);
                answers += 1;
            }
            answers
        }));
    }
    let began = Instant::now();
    let mut answers = 0;
    for task in tasks {
        answers += task.await.expect("a client that did not fail");
    }
    f64::from(answers) / began.elapsed().as_secs_f64()
}

/// Host and port of `http://HOST:PORT`.
pub fn host(url: &str) -> &str {
    url.trim_start_matches("http://")
}
