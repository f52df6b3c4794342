//! Around every request: an id, a limit, safe headers, one line in the log, and a problem document
//! whatever went wrong. And around all of them: the servers, and how they stop.

use std::future::Future;
use std::net::TcpListener;
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Server, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::{Compress, Next, from_fn};
use actix_web::{App, Error, HttpMessage, HttpResponse, HttpServer, ResponseError, web};
use futures_util::FutureExt;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::Instant;
use tracing::Instrument;

use crate::body::{Endless, holding};
use crate::limit;
use crate::lines::Lines;
use crate::operation::{Name, mount};
use crate::problem::Problem;
use crate::state::State;

/// The request's id, in the answer's `x-request-id`, in problems and in every log line.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Where the api listens.
#[derive(Debug)]
pub struct Listeners {
    /// For everyone.
    pub public: TcpListener,
    /// For operators: metrics and readiness in detail.
    pub admin: Option<TcpListener>,
}

/// Adds every operation and the state to an application.
pub fn configure(cfg: &mut web::ServiceConfig, state: State) {
    let operations = crate::operations(state.config.demo);
    cfg.app_data(web::Data::new(state));
    mount(cfg, operations);
    crate::docs::assets(cfg);
    crate::front::assets(cfg);
    cfg.default_service(web::to(async || Err::<HttpResponse, _>(Problem::NotFound)));
}

/// The whole application, as the server runs it and as a test may call it.
pub fn app(
    state: State,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let shared = state.clone();
    App::new()
        .wrap(Compress::default())
        .wrap(from_fn(move |req, next| around(shared.clone(), req, next)))
        .configure(move |cfg| configure(cfg, state))
}

/// Serves until `shutdown` completes, then lets requests under way finish.
///
/// # Errors
/// When a listener cannot be used.
pub async fn run(state: State, listeners: Listeners, shutdown: impl Future<Output = ()> + Send) -> std::io::Result<()> {
    let (server, admin) = servers(&state, listeners)?;
    let (stop, stop_admin) = (server.handle(), admin.as_ref().map(Server::handle));
    let admin = async {
        match admin {
            Some(server) => server.await,
            None => Ok(()),
        }
    };
    let listening = tokio::spawn(crate::sync::live::keep(state.clone()));
    let telling = tokio::spawn(limit::keep(state.clone()));
    let mut serving = std::pin::pin!(futures_util::future::try_join(server, admin));
    tokio::select! {
        done = &mut serving => return done.map(|_| ()),
        () = shutdown => {}
    }
    tracing::info!("stopping: letting requests under way finish");
    state.stop();
    let stop_admin = async {
        if let Some(stop) = stop_admin {
            stop.stop(true).await;
        }
    };
    let (done, (), ()) = tokio::join!(serving, stop.stop(true), stop_admin);
    listening.abort();
    telling.abort();
    done.map(|_| ())
}

/// Both servers, listening. Apart from `run`, whose future must be able to move between threads.
fn servers(state: &State, listeners: Listeners) -> std::io::Result<(Server, Option<Server>)> {
    let shared = state.clone();
    let workers = match state.config.workers {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        some => some,
    };
    let lines = Lines::new(state.config.connections_per_address, &state.config.trusted_proxies);
    let server = HttpServer::new(move || app(shared.clone()))
        .workers(workers)
        .on_connect(move |io, extensions| lines.meet(io, extensions))
        .tcp_nodelay(true)
        .client_request_timeout(Duration::from_secs(5))
        .client_disconnect_timeout(Duration::from_secs(5))
        .keep_alive(Duration::from_secs(75))
        .shutdown_timeout(state.config.stop_secs)
        .disable_signals()
        .listen(listeners.public)?
        .run();
    let shared = state.clone();
    let Some(listener) = listeners.admin else { return Ok((server, None)) };
    recorder();
    let admin = HttpServer::new(move || App::new().configure(|cfg| operators(cfg, shared.clone())))
        .workers(1)
        .shutdown_timeout(1)
        .disable_signals()
        .listen(listener)?
        .run();
    Ok((server, Some(admin)))
}

async fn around<B: MessageBody + 'static>(
    state: State,
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = state.store.clock().mint();
    let start = Instant::now();
    let mut req = req;
    let endless = Endless::of(&mut req);
    let method = req.method().clone();
    let address = limit::address(req.request(), &state);
    req.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!("request", request_id = %id);
    let _under_way = state.pace.enter();
    let counted = state.limiter.count(address);
    let answer = async {
        match counted {
            Err(problem) => Err(problem.into()),
            Ok(()) => match AssertUnwindSafe(next.call(req)).catch_unwind().await {
                Ok(answer) => answer,
                Err(_) => Err(Problem::Internal("a handler panicked".into()).into()),
            },
        }
    }
    .instrument(span.clone())
    .await;
    let _in = span.enter();
    let https = state.config.public_url.starts_with("https:");
    let (answer, name) = match answer {
        Ok(answer) => {
            let name = answer.request().extensions().get::<Name>().map(|name| name.0.to_string());
            let (status, mut answer) = (answer.status(), finish(&state, answer, &id, https));
            if let Some(endless) = &endless {
                let (req, document) = answer.into_parts();
                answer = ServiceResponse::new(req, endless.leave(document));
            }
            state.pace.dress(answer.headers_mut(), status, name.as_deref().unwrap_or_default(), &id);
            (Ok(answer), name)
        }
        Err(error) => {
            let problem = Problem::from_framework(&error, error.as_response_error().status_code());
            told(&state, &problem);
            (Err(Refusal { problem, id, https, endless: endless.clone() }), None)
        }
    };
    let status = answer.as_ref().map_or_else(|refusal| refusal.problem.status(), ServiceResponse::status).as_u16();
    let operation = name.unwrap_or_else(|| "none".into());
    let elapsed = start.elapsed();
    tracing::info!(%method, operation, status, micros = elapsed.as_micros() as u64, "answered");
    metrics::counter!("fieldstone_http_requests_total", "operation" => operation.clone(), "status" => status.to_string())
        .increment(1);
    metrics::histogram!("fieldstone_http_request_seconds", "operation" => operation).record(elapsed.as_secs_f64());
    Ok(answer?)
}

/// Gives an answer its id and headers; one that refuses becomes a problem document.
fn finish<B: MessageBody + 'static>(
    state: &State,
    answer: ServiceResponse<B>,
    id: &str,
    https: bool,
) -> ServiceResponse<BoxBody> {
    let status = answer.status();
    let is_problem = |answer: &ServiceResponse<B>| {
        answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
    };
    let mut answer = if (status.is_client_error() || status.is_server_error()) && !is_problem(&answer) {
        let problem = match answer.response().error() {
            Some(error) => Problem::from_framework(error, status),
            None => Problem::from_status(status),
        };
        told(state, &problem);
        let allow = answer.headers().get(header::ALLOW).cloned();
        let mut document = problem.respond(id);
        if let Some(allow) = allow {
            document.headers_mut().insert(header::ALLOW, allow);
        }
        answer.into_response(document)
    } else {
        answer.map_into_boxed_body()
    };
    dress(answer.headers_mut(), id, https);
    let req = answer.request().clone();
    answer.map_body(|_, body| holding(&req, body))
}

/// Tells the log of what only an operator can mend.
fn told(state: &State, problem: &Problem) {
    match problem {
        Problem::Internal(why) => {
            tracing::error!(why, "internal error");
            metrics::counter!("fieldstone_internal_errors_total").increment(1);
        }
        Problem::StorageFull if state.room.refused(state.now()) => {
            tracing::error!("the disk of the database is full: nothing is written until somebody makes room there");
        }
        _ => (),
    }
}

/// Headers that every answer has unless the handler chose its own.
fn dress(headers: &mut header::HeaderMap, id: &str, https: bool) {
    let mut set = |name: header::HeaderName, value: &'static str| {
        if !headers.contains_key(&name) {
            headers.insert(name, header::HeaderValue::from_static(value));
        }
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'");
    set(header::CACHE_CONTROL, "no-store");
    set(header::CROSS_ORIGIN_RESOURCE_POLICY, "same-origin");
    if https {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    if let Ok(value) = header::HeaderValue::from_str(id) {
        headers.insert(header::HeaderName::from_static("x-request-id"), value);
    }
}

/// A refusal that reached the door without an answer to write on.
#[derive(Debug)]
struct Refusal {
    problem: Problem,
    id: String,
    https: bool,
    endless: Option<Endless>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.problem.fmt(f)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.problem.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = self.problem.respond(&self.id);
        dress(answer.headers_mut(), &self.id, self.https);
        match &self.endless {
            Some(endless) => endless.leave(answer),
            None => answer,
        }
    }
}

/// The one metrics recorder of the process.
fn recorder() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
            let builder =
                PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &buckets).ok()?;
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            metrics::set_global_recorder(recorder).ok()?;
            // What was measured is kept one by one until somebody puts it together, and nobody may ever ask for it.
            let kept = handle.clone();
            std::thread::Builder::new()
                .name("metrics".into())
                .spawn(move || {
                    loop {
                        std::thread::sleep(std::time::Duration::from_secs(5));
                        kept.run_upkeep();
                    }
                })
                .ok()?;
            Some(handle)
        })
        .as_ref()
}

fn operators(cfg: &mut web::ServiceConfig, state: State) {
    cfg.app_data(web::Data::new(state))
        .route("/metrics", web::get().to(metrics_page))
        .route("/healthz", web::get().to(crate::health::alive))
        .route("/readyz", web::get().to(crate::health::ready_in_detail));
}

/// Queues as gauges; ages in seconds.
fn show(queues: &entities::workflow::gauges::Gauges) {
    let set = |name: &'static str, value: i64| metrics::gauge!(name).set(value as f64);
    set("fieldstone_timers_due", queues.timers_due);
    set("fieldstone_timers_dead", queues.timers_dead);
    set("fieldstone_timers_oldest_due_seconds", queues.oldest_timer_ms / 1000);
    set("fieldstone_mail_oldest_due_seconds", queues.oldest_mail_ms / 1000);
    set("fieldstone_addresses_refused", queues.addresses_refused);
    for (state, waiting) in &queues.mail {
        metrics::gauge!("fieldstone_mail_waiting", "state" => *state).set(*waiting as f64);
    }
}

async fn metrics_page(state: web::Data<State>) -> HttpResponse {
    // Asked for at each visit: another process may do the work. Without the database the rest is still told.
    let asked = async { entities::workflow::gauges::read(state.store.connection(), state.store.now().await?).await };
    let asked = asked.await;
    // The queues keep the last values they had; this says that they are none of today's.
    metrics::gauge!("fieldstone_database_up").set(if asked.is_ok() { 1.0 } else { 0.0 });
    match asked {
        Ok(queues) => show(&queues),
        Err(error) => tracing::warn!(%error, "the queues could not be measured"),
    }
    let Some(handle) = recorder() else { return HttpResponse::ServiceUnavailable().finish() };
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(handle.render())
}
