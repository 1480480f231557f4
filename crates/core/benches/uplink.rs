//! What a publish costs, through a real broker with mutual TLS on the loopback: 200-byte records at 5,000 a second for
//! 10 s, and as many as go. Prints records a second, the processor time of this process for each record (admission,
//! queue, MQTT, TLS) and the longest backlog.

#[path = "../../../tests/support"]
#[allow(dead_code, reason = "shared by tests that need different parts of it")]
mod support {
    pub mod certificates;
    pub mod link;
    pub mod mosquitto;
    pub mod observer;
    pub mod port;
    pub mod scene;
}

use std::time::{Duration, Instant};

use support::certificates::Authority;
use support::mosquitto::Mosquitto;
use support::scene::{Scene, admit};

const SECONDS: u32 = 10;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    println!("| admitted per second | arrived per second | CPU per record | longest backlog |");
    println!("| ---: | ---: | ---: | ---: |");
    for rate in [Some(500), Some(5_000), None] {
        measure(rate).await;
    }
}

async fn measure(rate: Option<u32>) {
    let authority = Authority::new("Test CA");
    let mosquitto = Mosquitto::start(&authority);
    let mut scene = Scene::set_unobserved(authority, mosquitto).await;
    // Past the link, whose forwarding would count as this process's work.
    scene.aws.port = scene.mosquitto.port();
    let mut running = scene.run();
    running.connected(1).await;

    let (queue, routes) = (scene.queue.clone(), scene.routes.clone());
    let (start, cpu) = (Instant::now(), cpu_time());
    let admitting = std::thread::spawn(move || {
        let (mut number, mut backlog) = (0, 0);
        while start.elapsed() < Duration::from_secs(SECONDS.into()) {
            let due = match rate {
                Some(rate) => (start.elapsed().as_secs_f64() * f64::from(rate)) as usize,
                // As many as go: a backlog, but none that overflows.
                None if queue.figures().queued() < 1000 => number + 1000,
                None => number,
            };
            (number..due).for_each(|number| admit(&queue, &routes, number));
            number = due;
            backlog = backlog.max(queue.figures().queued());
            std::thread::sleep(Duration::from_millis(1));
        }
        (number, backlog)
    });
    let (count, backlog) = tokio::task::spawn_blocking(|| admitting.join().unwrap()).await.unwrap();
    scene.acknowledged(count).await;
    let (elapsed, cpu) = (start.elapsed(), cpu_time() - cpu);
    println!(
        "| {} | {:.0} | {:.1} µs | {backlog} records |",
        rate.map_or("as many as go".into(), |rate| rate.to_string()),
        count as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / count as f64,
    );
    assert_eq!(running.state.borrow().connections, 1);
    running.stop().await;
}

/// Processor time of this process so far. The broker is another one.
fn cpu_time() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(usage.tv_sec as u64, usage.tv_nsec as u32)
}
