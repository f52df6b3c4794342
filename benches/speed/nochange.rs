//! A pull that brings nothing, which is what nearly every pull is, beside `hello`.

use std::time::Duration;

use crate::hello::Hello;
use crate::office::Office;
use crate::support::{Kind, Town};
use crate::table::{Floor, Table, median};
use crate::usage::cpu_micros;
use crate::wire::{Wire, get, rate};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);

pub async fn measure(kind: Kind, town: Town, table: &mut Table) {
    let office = Office::open(town).await;
    for (whose, person) in office.people() {
        let request = office.pull(person, office.head().await, false);
        let body = office.warm(&mut Wire::open(&office.server.url).await, &request).await;
        let hello = Hello::start(body.len()).await;
        let plain = get(&hello.url, "/", "none");
        for connections in [16, 64] {
            let (mut ours, mut theirs, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                theirs.push(rate(&hello.url, &plain, connections, ROUND).await);
                let used = cpu_micros(office.server.pid());
                let answers = rate(&office.server.url, &request, connections, ROUND).await;
                cpu.push((cpu_micros(office.server.pid()) - used) / (answers * ROUND.as_secs_f64()));
                ours.push(answers);
            }
            let (ours, theirs, cpu) = (median(&mut ours), median(&mut theirs), median(&mut cpu));
            let share = ours / theirs;
            table.add(
                &format!("no-change pull, {connections} connections, {whose}, {kind:?}"),
                format!("{ours:.0}/s beside {theirs:.0}/s of hello: {:.1} %; {cpu:.0} µs of own CPU", share * 100.0),
                share,
                Floor::AtLeast(0.30),
            );
        }
    }
}
