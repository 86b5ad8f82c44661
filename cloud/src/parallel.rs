//! The same work on many things, on all cores.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{available_parallelism, scope};

/// What `work` makes of each item, in their order. A few items are not worth a thread.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    if cores == 1 || items.len() < WORTH_A_THREAD {
        return items.iter().map(work).collect();
    }
    let portions: Vec<&[T]> = items.chunks(PORTION).collect();
    let next = AtomicUsize::new(0);
    // Portions are taken, not dealt: some items cost a hundred times as much as others.
    let worker = || {
        let mut done = Vec::new();
        while let Some((at, portion)) = take(&portions, &next) {
            done.push((at, portion.iter().map(&work).collect::<Vec<R>>()));
        }
        done
    };
    let mut done: Vec<(usize, Vec<R>)> = scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        let joined =
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        joined.flatten().collect()
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().flat_map(|(_, results)| results).collect()
}

fn take<'t, T>(portions: &[&'t [T]], next: &AtomicUsize) -> Option<(usize, &'t [T])> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    portions.get(at).map(|portion| (at, *portion))
}

/// Below this, starting threads takes longer than it saves.
const WORTH_A_THREAD: usize = 64;
/// Items that a worker takes at once.
const PORTION: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for len in [0, 1, 63, 64, 65, 1000] {
            let items: Vec<usize> = (0..len).collect();
            let doubled: Vec<usize> = items.iter().map(|item| item * 2).collect();
            assert_eq!(map(&items, |item| item * 2), doubled, "{len}");
        }
    }
}
