//! What works behind the shards gives way to them.

use rustix::process::{getpriority_process, setpriority_process};

/// The niceness of such a thread, at least: where it shares a core with a shard that is busy, the shard
/// gets nine tenths of it (`sched(7)`: each step weighs 1.25 times as much).
const NICENESS_MIN: i32 = 10;

/// Lets the calling thread give way to shards from now on: what is written behind them, by millions of
/// rows, must not delay what clients wait for. To call it twice does nothing more. On Linux niceness is
/// a thread's own (`setpriority(2)`); where a sandbox forbids to change it, the thread stays as it is.
pub fn give_way() {
    let lowered = |niceness: i32| setpriority_process(None, niceness.max(NICENESS_MIN));
    let _ = getpriority_process(None).and_then(lowered);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calling_thread_alone_gives_way() {
        let own = getpriority_process(None).expect("a niceness");
        let other = std::thread::spawn(|| {
            give_way();
            give_way();
            getpriority_process(None).expect("a niceness")
        });
        assert_eq!(other.join().expect("no panic"), own.max(NICENESS_MIN));
        assert_eq!(getpriority_process(None).expect("a niceness"), own);
    }
}
