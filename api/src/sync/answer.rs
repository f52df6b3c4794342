//! Sending a large JSON body: compressed in one piece, with its length.
//!
//! A streamed, chunked compression costs several times as much on small pages and waits for
//! delayed acknowledgements; a page is compressed whole and sent with its length.

use std::io::Write;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::problem::Problem;

/// Bodies below this size are sent as they are.
const SMALL: usize = 1024;
/// Bodies above this size are compressed off the thread that answers others.
const LARGE: usize = 256 * 1024;

/// A 200 with a JSON body, gzipped where the client takes that.
pub(super) async fn json(req: &HttpRequest, body: Vec<u8>) -> Result<HttpResponse, Problem> {
    let mut reply = HttpResponse::Ok();
    reply
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::VARY, "accept-encoding"));
    if body.len() < SMALL || !takes_gzip(req) {
        return Ok(reply.insert_header((header::CONTENT_ENCODING, "identity")).body(body));
    }
    let packed = if body.len() > LARGE {
        web::block(move || gzip(&body)).await.map_err(|_| Problem::Busy { retry_after: 1 })?
    } else {
        gzip(&body)
    };
    let packed = packed.map_err(|err| Problem::Internal(err.to_string()))?;
    Ok(reply.insert_header((header::CONTENT_ENCODING, "gzip")).body(packed))
}

fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 3), Compression::new(4));
    encoder.write_all(body)?;
    encoder.finish()
}

fn takes_gzip(req: &HttpRequest) -> bool {
    let Some(accepts) = req.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    accepts.split(',').any(|part| {
        let mut words = part.split(';').map(str::trim);
        let name = words.next().unwrap_or_default();
        let refused =
            words.any(|word| matches!(word.replace(' ', "").as_str(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        (name.eq_ignore_ascii_case("gzip") || name == "*") && !refused
    })
}
