//! The reference for what HTTP itself costs: actix-web that answers a fixed body, in a process of its own.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};

use crate::support::server::free_port;

/// The reference server, killed when dropped.
#[derive(Debug)]
pub struct Hello {
    child: Child,
    pub url: String,
}

impl Hello {
    /// Starts it with a body of so many bytes.
    pub async fn start(bytes: usize) -> Hello {
        let port = free_port();
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["hello", &port.to_string(), &bytes.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("the reference starts");
        let url = format!("http://127.0.0.1:{port}");
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Hello { child, url }
    }
}

impl Drop for Hello {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the child does: `hello PORT BYTES`.
pub fn serve(args: &[String]) {
    let [port, bytes] = args else { panic!("hello PORT BYTES") };
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).expect("the port");
    let body = "x".repeat(bytes.parse().expect("a number of bytes"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let server = HttpServer::new(move || {
            let body = body.clone();
            let answer = move || {
                let body = body.clone();
                async move { HttpResponse::Ok().content_type("application/json").body(body) }
            };
            App::new().route("/", web::get().to(answer))
        });
        server.tcp_nodelay(true).listen(listener).expect("the listener").run().await.expect("it serves");
    });
}
