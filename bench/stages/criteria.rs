//! When a load holds: what was said in time to everybody, and nothing lost. Pure.

use clap::Args;
use serde::Serialize;

use super::showing::{Kind, Showing};

/// The service that is asked for. The first criterion that fails is reported, in this order.
#[derive(Clone, Copy, Debug, Args, Serialize)]
pub(crate) struct Criteria {
    /// Requests without a reply, and deliveries that never came, at most
    #[arg(long, value_name = "N", default_value_t = 0)]
    lost_max: u64,
    /// 99 % of heartbeats, answers and chat messages are acknowledged within this, from the moment at
    /// which they were due
    #[arg(long, value_name = "MS", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=60_000))]
    ack_limit_ms: u32,
    /// 99 % of those who connect have joined within this, from the moment at which they were due
    #[arg(long, value_name = "MS", default_value_t = 250,
        value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connect_limit_ms: u32,
    /// The last client has a question within this, and 99 % a chat message: the question's window is
    /// ten seconds, and the network needs its part of it
    #[arg(long, value_name = "MS", default_value_t = 500,
        value_parser = clap::value_parser!(u32).range(1..=60_000))]
    window_ms: u32,
    /// Of the rate that was asked for, this part is done, in percent: less, and it no longer rises
    #[arg(long, value_name = "PERCENT", default_value_t = 90,
        value_parser = clap::value_parser!(u32).range(1..=100))]
    rate_min_percent: u32,
}

/// What a load failed by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// For machines.
    pub(crate) criterion: &'static str,
    /// For people.
    pub(crate) text: String,
}

impl Criteria {
    /// Within this everybody must have what was pushed.
    pub(crate) fn window_ms(&self) -> u32 {
        self.window_ms
    }

    /// What failed first; nothing if the load held.
    pub(crate) fn judge(&self, showing: &Showing) -> Option<Failure> {
        let failure = |criterion, text| Some(Failure { criterion, text });
        if let Some(broke) = &showing.broke {
            return failure("broke", broke.clone());
        }
        if showing.closed > 0 {
            return failure("closed", format!("the gateway closed {} connections", showing.closed));
        }
        if let Some(flow) = showing.flows.iter().find(|flow| flow.refused > 0) {
            let text = format!("{} of {} {} refused", flow.refused, flow.planned, flow.kind.name());
            return failure("refused", text);
        }
        let lost = showing.lost();
        if lost > self.lost_max {
            return failure("lost", format!("{lost} lost, allowed are {}", self.lost_max));
        }
        let late = |criterion, what: &str, ms: f64, limit_ms: u32| {
            let text = format!("{what} {ms:.0} ms > {limit_ms} ms");
            (ms > f64::from(limit_ms)).then_some(Failure { criterion, text })
        };
        if let Some(push) = &showing.push {
            let failed =
                late("window", "to the last client", push.coverage_ms.p100, self.window_ms);
            if failed.is_some() {
                return failed;
            }
        }
        for flow in &showing.flows {
            let (criterion, limit_ms) = match flow.kind {
                Kind::Connect => ("connect_p99", self.connect_limit_ms),
                Kind::Heartbeat | Kind::Answer | Kind::Chat => ("ack_p99", self.ack_limit_ms),
            };
            let what = format!("{}, 99 %", flow.kind.name());
            let failed = late(criterion, &what, flow.ms.p99, limit_ms);
            if failed.is_some() {
                return failed;
            }
            let least = flow.asked_per_s * f64::from(self.rate_min_percent) / 100.0;
            if flow.per_s < least {
                let (done, asked) = (flow.per_s, flow.asked_per_s);
                let text = format!("{}: {done:.0}/s of {asked:.0}/s", flow.kind.name());
                return failure("rate", text);
            }
        }
        let chat = showing.chat.as_ref()?;
        late("chat_p99", "chat delivered, 99 %", chat.delivery_ms.p99, self.window_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::stats::Coverage;
    use crate::stages::showing::{ChatShown, FlowShown, PushShown};

    const CRITERIA: Criteria = Criteria {
        lost_max: 0,
        ack_limit_ms: 50,
        connect_limit_ms: 250,
        window_ms: 500,
        rate_min_percent: 90,
    };

    fn all(ms: f64) -> Coverage {
        Coverage { p50: ms, p99: ms, p999: ms, p100: ms }
    }

    fn flow(kind: Kind) -> FlowShown {
        let (planned, done) = (1_000, 1_000);
        FlowShown {
            kind,
            planned,
            done,
            refused: 0,
            asked_per_s: 1_000.0,
            per_s: 995.0,
            ms: all(50.0),
        }
    }

    fn showing(flow: FlowShown) -> Showing {
        let push = PushShown { members: 10, pushes: 2, reached: 20, coverage_ms: all(500.0) };
        let chat = ChatShown { expected: 30, delivered: 30, gaps: 0, delivery_ms: all(500.0) };
        Showing { flows: vec![flow], push: Some(push), chat: Some(chat), ..Showing::default() }
    }

    fn failed_by(change: impl FnOnce(&mut Showing)) -> Option<&'static str> {
        let mut showing = showing(flow(Kind::Answer));
        change(&mut showing);
        CRITERIA.judge(&showing).map(|failure| failure.criterion)
    }

    #[test]
    fn what_is_just_within_holds_and_what_is_beyond_fails_by_its_criterion() {
        assert_eq!(failed_by(|_| ()), None);
        assert_eq!(failed_by(|it| it.broke = Some("x".to_owned())), Some("broke"));
        assert_eq!(failed_by(|it| it.closed = 1), Some("closed"));
        assert_eq!(failed_by(|it| it.flows[0].refused = 1), Some("refused"));
        assert_eq!(failed_by(|it| it.flows[0].done = 999), Some("lost"));
        let push = |it: &mut Showing| it.push.take().unwrap();
        let missed = failed_by(|it| it.push = Some(PushShown { reached: 19, ..push(it) }));
        assert_eq!(missed, Some("lost"));
        let slow =
            failed_by(|it| it.push = Some(PushShown { coverage_ms: all(501.0), ..push(it) }));
        assert_eq!(slow, Some("window"));
        assert_eq!(failed_by(|it| it.flows[0].ms.p99 = 51.0), Some("ack_p99"));
        assert_eq!(failed_by(|it| it.flows[0].per_s = 899.0), Some("rate"));
        let chat = |it: &mut Showing| it.chat.take().unwrap();
        let thinned = failed_by(|it| it.chat = Some(ChatShown { delivered: 29, ..chat(it) }));
        assert_eq!(thinned, Some("lost"));
        let slow =
            failed_by(|it| it.chat = Some(ChatShown { delivery_ms: all(501.0), ..chat(it) }));
        assert_eq!(slow, Some("chat_p99"));
    }

    #[test]
    fn who_connects_may_take_longer() {
        let mut connect = flow(Kind::Connect);
        connect.ms.p99 = 250.0;
        assert_eq!(CRITERIA.judge(&showing(connect.clone())), None);
        connect.ms.p99 = 251.0;
        let failure = CRITERIA.judge(&showing(connect)).unwrap();
        let text = "connects, 99 % 251 ms > 250 ms".to_owned();
        assert_eq!(failure, Failure { criterion: "connect_p99", text });
    }
}
