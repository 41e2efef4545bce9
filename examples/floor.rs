//! What the store itself allows: the least commands for one operation, from a Rust client on the same socket.
//!
//!     floor URL       prints one line a figure: name, unit, best, median (of 9 samples)
//!
//! `pingpong`: two threads, LPUSH a request and BRPOP the reply, 64 bytes. `evalsha`: one script of one command.
//! `queue`: items of 1,000 bytes, pushed by one thread in pipelines of 64 and popped by another, one BRPOP an item.

use std::thread;
use std::time::Instant;

use redis::{Client, Connection, RedisResult, cmd, pipe};

fn main() -> RedisResult<()> {
    let url = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "redis://127.0.0.1/".into());
    let client = Client::open(url)?;
    sample("floor_pingpong_64B_us", "us", false, || {
        pingpong(&client, 2000)
    });
    sample("floor_evalsha_us", "us", false, || evalsha(&client, 5000));
    sample("floor_queue_1000B_items_per_s", "items/s", true, || {
        queue(&client, 20_000)
    });
    Ok(())
}

fn sample(name: &str, unit: &str, more_is_better: bool, run: impl Fn() -> RedisResult<f64>) {
    let mut samples: Vec<f64> = (0..9).filter_map(|_| run().ok()).collect();
    samples.sort_by(f64::total_cmp);
    let best = if more_is_better {
        samples.last()
    } else {
        samples.first()
    };
    println!(
        "{name} {unit} {:.2} {:.2}",
        best.copied().unwrap_or(f64::NAN),
        samples[samples.len() / 2]
    );
}

fn pingpong(client: &Client, n: u32) -> RedisResult<f64> {
    let mut here = client.get_connection()?;
    let mut there = client.get_connection()?;
    let echo = thread::spawn(move || -> RedisResult<()> {
        for _ in 0..n {
            let (_, message): (String, Vec<u8>) =
                cmd("BRPOP").arg("floor:a").arg(0).query(&mut there)?;
            cmd("LPUSH").arg("floor:b").arg(message).exec(&mut there)?;
        }
        Ok(())
    });
    let begin = Instant::now();
    for _ in 0..n {
        cmd("LPUSH")
            .arg("floor:a")
            .arg(&[0_u8; 64][..])
            .exec(&mut here)?;
        cmd("BRPOP").arg("floor:b").arg(0).exec(&mut here)?;
    }
    let each = begin.elapsed().as_secs_f64() / f64::from(n) * 1e6;
    echo.join().expect("the echo does not panic")?;
    Ok(each)
}

fn evalsha(client: &Client, n: u32) -> RedisResult<f64> {
    let mut here = client.get_connection()?;
    let sha: String = cmd("SCRIPT")
        .arg("LOAD")
        .arg("return redis.call('INCRBY', KEYS[1], ARGV[1])")
        .query(&mut here)?;
    let begin = Instant::now();
    for _ in 0..n {
        cmd("EVALSHA")
            .arg(&sha)
            .arg(1)
            .arg("floor:n")
            .arg(1)
            .exec(&mut here)?;
    }
    Ok(begin.elapsed().as_secs_f64() / f64::from(n) * 1e6)
}

fn queue(client: &Client, n: u32) -> RedisResult<f64> {
    let mut producer = client.get_connection()?;
    let mut consumer: Connection = client.get_connection()?;
    let begin = Instant::now();
    let feed = thread::spawn(move || -> RedisResult<()> {
        for _ in 0..n / 64 {
            let mut batch = pipe();
            for _ in 0..64 {
                batch
                    .cmd("LPUSH")
                    .arg("floor:q")
                    .arg(&[0_u8; 1000][..])
                    .ignore();
            }
            batch.exec(&mut producer)?;
        }
        Ok(())
    });
    let items = n / 64 * 64;
    for _ in 0..items {
        cmd("BRPOP").arg("floor:q").arg(0).exec(&mut consumer)?;
    }
    let rate = f64::from(items) / begin.elapsed().as_secs_f64();
    feed.join().expect("the feeder does not panic")?;
    Ok(rate)
}
