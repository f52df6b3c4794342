//! Sending a large JSON body: compressed while it is written, sent in one piece with its length.
//!
//! A chunked compression costs several times as much on small pages and waits for delayed
//! acknowledgements. A first sync is compressed as its rows are read, so that its text never
//! stands in memory; a large body is handed to the connection in slices, which otherwise copies it.

use std::convert::Infallible;
use std::io::{self, Write};

use actix_web::body::SizedStream;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;

use crate::problem::Problem;

/// Bodies below this size are sent as they are.
const SMALL: usize = 4096;
/// Larger bodies go out in slices of this size.
const SLICE: usize = 64 * 1024;
/// About what a row takes.
const ROW: usize = 512;

/// A body on its way: compressed where the client takes that.
pub(super) enum Body {
    /// As it is.
    Plain(Vec<u8>),
    /// Compressed.
    Packed(GzEncoder<Vec<u8>>),
}

impl Body {
    /// A body of about so many rows.
    pub(super) fn of(req: &HttpRequest, rows: usize) -> Body {
        let room = SMALL + rows * ROW;
        if rows == 0 || !takes_gzip(req) {
            return Body::Plain(Vec::with_capacity(room));
        }
        Body::Packed(GzEncoder::new(Vec::with_capacity(room / 4), Compression::new(4)))
    }

    /// A 200 with what was written.
    pub(super) fn send(self) -> Result<HttpResponse, Problem> {
        let (encoding, bytes) = match self {
            Body::Plain(bytes) => ("identity", bytes),
            Body::Packed(encoder) => ("gzip", encoder.finish().map_err(|err| Problem::Internal(err.to_string()))?),
        };
        let mut reply = HttpResponse::Ok();
        reply
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::VARY, "accept-encoding"))
            .insert_header((header::CONTENT_ENCODING, encoding));
        Ok(in_slices(&mut reply, bytes.into()))
    }
}

impl Write for Body {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Body::Plain(out) => {
                // Doubling a body of many megabytes would hold it twice over.
                if out.capacity() - out.len() < bytes.len() {
                    out.reserve_exact(bytes.len() + out.len() / 8);
                }
                out.write(bytes)
            }
            Body::Packed(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn in_slices(reply: &mut HttpResponseBuilder, mut bytes: Bytes) -> HttpResponse {
    if bytes.len() <= 2 * SLICE {
        return reply.body(bytes);
    }
    let length = bytes.len() as u64;
    let slices = std::iter::from_fn(move || {
        let slice = bytes.split_to(SLICE.min(bytes.len()));
        (!slice.is_empty()).then_some(Ok::<_, Infallible>(slice))
    });
    reply.body(SizedStream::new(length, stream::iter(slices)))
}

/// A 200 with a JSON body that is there already, gzipped where the client takes that.
pub(super) fn json(req: &HttpRequest, bytes: &[u8]) -> Result<HttpResponse, Problem> {
    let rows = if bytes.len() < SMALL { 0 } else { bytes.len().div_ceil(ROW) };
    let mut body = Body::of(req, rows);
    body.write_all(bytes).map_err(|err| Problem::Internal(err.to_string()))?;
    body.send()
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
