//! How soon `fieldstone demo` is ready in an empty folder, and what it holds in memory when nobody asks it anything.

use std::time::{Duration, Instant};

use crate::support::server::Server;
use crate::table::{Floor, Table, median};
use crate::usage::resident_mib;

pub fn measure(table: &mut Table) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (mut ready, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let folder = tempfile::tempdir().expect("a folder");
        runtime.block_on(async {
            let began = Instant::now();
            let data = folder.path().display().to_string();
            let server = Server::start(&["demo", "--data", &data], &[]).await;
            ready.push(began.elapsed().as_secs_f64());
            tokio::time::sleep(Duration::from_secs(5)).await;
            memory.push(resident_mib(server.pid()));
        });
    }
    let (ready, memory) = (median(&mut ready), median(&mut memory));
    table.add("`fieldstone demo` ready, from an empty folder", format!("{ready:.2} s"), ready, Floor::AtMost(2.0));
    table.add(
        "memory at rest (RSS), demo data, api and worker",
        format!("{memory:.0} MiB"),
        memory,
        Floor::AtMost(64.0),
    );
}
