//! What players say and hear: requests in the words of the schema, and every message that comes.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::base::ids::{OptionIndex, QuestionIndex, RoomId, ShowId};
use crate::room::lane::{Lane, Span};
use crate::sim::checkers::Promise;
use crate::sim::checkers::lanes::lane_index;
use crate::sim::network::{Asked, Break, Stage};
use crate::sim::player::{Act, Wish};
use crate::sim::truth::{Reply, SentAnswer};
use crate::sim::world::{CLOCK, World};
use crate::wire::codec::{
    Encoding, TYPE_AUTHENTICATE, TYPE_BUSINESS, TYPE_HEARTBEAT, decode_server, encode_client,
};
use crate::wire::frame::encode_masked_close;
use crate::wire::message::Message;
use crate::wire::proto;
use crate::wire::upgrade::{Accept, ClientRequest, parse_accept, parse_accept_offering};

/// `replaced` in the table of close codes.
const REPLACED: u16 = 4_000;

/// One message of a server, or its end.
enum Heard {
    Frame(Box<proto::ServerFrame>),
    Close(Option<u16>),
    Unreadable(String),
}

impl World {
    /// The upgrade, with token and room in it or right behind it.
    pub(crate) fn say_hello(&mut self, link: usize, resume: bool) {
        let player = self.links[link].player;
        let it = &mut self.players[player];
        let in_target = it.dice.permille(700);
        let nonce = it.dice.bytes();
        let room = it.room.0;
        let mut position = it.positions.get(&room).copied().filter(|_| resume);
        if let Some((_, seen, _)) = &mut position
            && it.dice.permille(200)
        {
            // As if the newest message had not been kept: perhaps the middle of a batch.
            seen[2] = seen[2].saturating_sub(1);
        }
        let with_low = it.dice.permille(500);
        let mut target = "/".to_string();
        let mut wish = None;
        if in_target {
            target = format!("/?token={}&room={room}", it.credentials.token);
            target += if it.opens_seals { "&seals=1" } else { "" };
            if let Some((epoch, seen, _)) = position {
                target += &format!("&epoch={epoch}&high={}", seen[0]);
                if with_low {
                    target += &format!("&mid={}&low={}", seen[1], seen[2]);
                }
                let low = with_low.then_some(());
                wish = Some([Some(seen[0]), low.map(|()| seen[1]), low.map(|()| seen[2])]);
                let epoch_and_versions = (epoch, wish);
                self.links[link].first_wish = Some(epoch_and_versions);
            }
        }
        if wish.is_none() {
            self.links[link].first_wish = Some((0, None));
        }
        let encoding = self.links[link].encoding;
        let request = ClientRequest { host: "quiz.example", target: &target, encoding, nonce };
        let bytes = if self.setup.offers_deflate(player) {
            self.races.deflate_offered += 1;
            request.to_bytes_offering_deflate()
        } else {
            request.to_bytes()
        };
        self.links[link].target = target;
        self.links[link].nonce = nonce;
        self.client_writes(link, bytes, None);
        if !in_target {
            let it = &self.players[player];
            let frame = proto::ClientFrame {
                r#type: TYPE_AUTHENTICATE,
                user_id: it.user.0,
                token: it.credentials.token.clone(),
                ..proto::ClientFrame::default()
            };
            self.say(link, &frame, None);
            self.say_join(link, resume);
        }
        let every = self.setup.idle_timeout_ms * 4 / 10;
        let delay = std::time::Duration::from_millis(u64::from(every));
        self.later(player, delay, Act::Heartbeat { link });
    }

    fn say(&mut self, link: usize, frame: &proto::ClientFrame, answer: Option<usize>) {
        let mut bytes = Vec::new();
        let player = self.links[link].player;
        let mask = self.players[player].dice.bytes();
        encode_client(self.links[link].encoding, frame, mask, &mut bytes);
        self.client_writes(link, bytes, answer);
    }

    fn request(
        &mut self,
        link: usize,
        sequence: String,
        asked: Asked,
        payload: proto::request::Payload,
        answer: Option<usize>,
    ) {
        self.links[link].asked.insert(sequence.clone(), (asked, self.now));
        let request = proto::Request { payload: Some(payload) };
        let business = proto::Business {
            r#type: 0,
            sequence,
            body: Some(proto::business::Body::Request(request)),
        };
        let frame = proto::ClientFrame {
            r#type: TYPE_BUSINESS,
            business: Some(business),
            ..proto::ClientFrame::default()
        };
        self.say(link, &frame, answer);
    }

    fn sequence(&mut self, link: usize) -> String {
        let it = &mut self.players[self.links[link].player];
        it.next_sequence += 1;
        format!("s{}", it.next_sequence)
    }

    /// Asks for the room in which the player wants to be.
    pub(crate) fn say_join(&mut self, link: usize, resume: bool) {
        let player = &self.players[self.links[link].player];
        let room = player.room.0;
        let position = player.positions.get(&room).copied().filter(|_| resume);
        let lanes = [proto::Lane::High, proto::Lane::Mid, proto::Lane::Low];
        let positions = position.map_or(Vec::new(), |(_, seen, _)| {
            let lane = |(lane, version): (&proto::Lane, &u64)| proto::LanePosition {
                lane: (*lane).into(),
                version: *version,
            };
            lanes.iter().zip(&seen).map(lane).collect()
        });
        let epoch = position.map_or(0, |(epoch, ..)| epoch);
        let versions = position.map(|(_, seen, _)| seen.map(Some));
        let opens_seals = player.opens_seals;
        let join = proto::Join { room_id: room, epoch, positions, opens_seals };
        let sequence = self.sequence(link);
        let payload = proto::request::Payload::Join(join);
        self.request(link, sequence, Asked::Join { epoch, versions }, payload, None);
    }

    pub(crate) fn say_leave(&mut self, link: usize) {
        let sequence = self.sequence(link);
        let payload = proto::request::Payload::Leave(proto::Leave {});
        self.request(link, sequence, Asked::Leave, payload, None);
    }

    /// Says something that is no part of the quiz.
    pub(crate) fn ask_to_say(
        &mut self,
        link: usize,
        asked: Asked,
        payload: proto::request::Payload,
    ) {
        let sequence = self.sequence(link);
        self.request(link, sequence, asked, payload, None);
    }

    pub(crate) fn say_heartbeat(&mut self, link: usize) {
        let heartbeat = proto::Heartbeat {
            client_sent_ms: CLOCK.unix_ms(self.now),
            ..proto::Heartbeat::default()
        };
        let frame = proto::ClientFrame {
            r#type: TYPE_HEARTBEAT,
            heartbeat: Some(heartbeat),
            ..proto::ClientFrame::default()
        };
        self.say(link, &frame, None);
    }

    pub(crate) fn say_goodbye(&mut self, link: usize, code: u16) {
        let mut bytes = Vec::new();
        let mask = self.players[self.links[link].player].dice.bytes();
        encode_masked_close(Some(code), "", mask, &mut bytes);
        self.client_writes(link, bytes, None);
    }

    /// An option or a question that does not exist, or no message at all.
    pub(crate) fn say_garbage(&mut self, link: usize, show: usize, question: u32) {
        let player = self.links[link].player;
        if self.players[player].dice.below(3) == 0 && self.links[link].encoding == Encoding::Proto {
            // A whole frame whose payload is no message.
            let mask = self.players[player].dice.bytes();
            let mut bytes = Vec::new();
            let code = crate::wire::frame::OpCode::Data(crate::wire::frame::Data::Binary);
            crate::wire::frame::encode_masked_frame(code, &[0xff; 9], mask, &mut bytes);
            return self.client_writes(link, bytes, None);
        }
        let sequence = self.sequence(link);
        let (show_id, option) = (self.setup.shows[show].id.0, 6 + question % 250);
        let answer = proto::Answer { show_id, question, option, ticket: Bytes::new() };
        let payload = proto::request::Payload::Answer(answer);
        self.request(link, sequence, Asked::Answer, payload, None);
    }

    /// Gives an answer: on the player's connection, or on a short one of its own.
    pub(crate) fn say_answer(&mut self, link: usize, wish: Wish) {
        let player = self.links[link].player;
        let index = self.answers.len();
        let is_short = self.players[player].dice.permille(120);
        // Who answers by HTTP may overtake its own join; it is asked less.
        let in_room =
            !is_short && self.links[link].in_show.is_some_and(|(show, _)| show == wish.show);
        let link = if is_short { self.open_short(player) } else { link };
        self.answers.push(SentAnswer {
            user: self.players[player].user,
            show: wish.show,
            question: wish.question,
            option: wish.option,
            has_ticket: wish.ticket.is_some(),
            link,
            in_room,
            arrived_at: None,
            taken: None,
            reply: None,
        });
        self.races.answers_sent += 1;
        let host = self.links[link].host;
        let known = &mut self.players[player].shows[wish.show].sent;
        if let Some((before, shard)) = known.insert(wish.question.0, (link, host)) {
            self.races.tickets_elsewhere += u64::from(before != link && wish.ticket.is_some());
            self.races.repeats_on_other_shard += u64::from(shard != host);
        }
        let answer = proto::Answer {
            show_id: self.setup.shows[wish.show].id.0,
            question: wish.question.0.into(),
            option: wish.option.0.into(),
            ticket: wish.ticket.clone().unwrap_or_default(),
        };
        if is_short {
            self.post_answer(link, &answer, index);
        } else {
            let payload = proto::request::Payload::Answer(answer);
            self.request(link, format!("a{index}"), Asked::Answer, payload, Some(index));
        }
        let patience = self.players[player].dice.millis(300, 1_500);
        self.later(player, patience, Act::Check { answer: index, wish });
    }

    /// Bytes that the client reads.
    pub(crate) fn listen(&mut self, link: usize, bytes: &mut [u8]) {
        let offers = self.setup.offers_deflate(self.links[link].player);
        let it = &mut self.links[link];
        let mut rest: Vec<u8>;
        let bytes = match &mut it.stage {
            Stage::Over => {
                let replaced = it.was_replaced;
                return self.findings.check(!replaced, Promise::Sessions, || {
                    format!("link {link} got {} bytes after its close frame", bytes.len())
                });
            }
            Stage::Short(so_far) => {
                so_far.extend_from_slice(bytes);
                return self.hear_short(link);
            }
            Stage::Open => bytes,
            Stage::Upgrading(so_far) => {
                so_far.extend_from_slice(bytes);
                let (target, nonce, encoding) = (it.target.as_str(), it.nonce, it.encoding);
                let request = ClientRequest { host: "quiz.example", target, encoding, nonce };
                let accepted = if offers { parse_accept_offering } else { parse_accept };
                match accepted(so_far, &request) {
                    Accept::Incomplete => return,
                    Accept::Accepted { consumed } => {
                        rest = so_far.split_off(consumed);
                        it.stage = Stage::Open;
                        &mut rest[..]
                    }
                    refused => {
                        return self.findings.broken(Promise::Sessions, || {
                            format!("link {link} was not upgraded: {refused:?}")
                        });
                    }
                }
            }
        };
        let encoding = it.encoding;
        let mut heard = Vec::new();
        let inflater = offers.then_some(&mut self.inflater);
        let decoded = self.decoder.decode_with(&mut it.pending, inflater, bytes, |message| {
            heard.push(match &message {
                Message::Close(close) => Heard::Close(close.map(|close| close.code)),
                message => match decode_server(encoding, message) {
                    Ok(frame) => Heard::Frame(Box::new(frame)),
                    Err(error) => Heard::Unreadable(error.to_string()),
                },
            });
            ControlFlow::Continue(())
        });
        if let Err(error) = decoded {
            heard.push(Heard::Unreadable(error.to_string()));
        }
        for heard in heard {
            if !self.links[link].client_open {
                return;
            }
            match heard {
                Heard::Frame(frame) => self.hear(link, *frame),
                Heard::Close(code) => self.hear_close(link, code),
                Heard::Unreadable(error) => {
                    self.findings.broken(Promise::Lanes, || format!("link {link}: {error}"));
                    self.client_breaks(link, Break::Reset);
                }
            }
        }
    }

    fn hear_close(&mut self, link: usize, code: Option<u16>) {
        let it = &mut self.links[link];
        it.stage = Stage::Over;
        it.lanes.left();
        it.in_show = None;
        if code == Some(REPLACED) {
            it.was_replaced = true;
            self.races.replaced += 1;
            let waits = self.links[link].asked.values().any(|(asked, _)| *asked == Asked::Answer);
            self.races.replaced_while_answering += u64::from(waits);
        }
        self.say_goodbye(link, code.unwrap_or(1_000));
    }

    fn hear(&mut self, link: usize, frame: proto::ServerFrame) {
        use proto::server_frame::Body;
        if !matches!(frame.body, Some(Body::ErrorCode(_))) {
            self.check_token_holds(link);
        }
        match frame.body {
            Some(Body::ErrorCode(code)) => self.hear_failure(link, code, frame.failure),
            Some(Body::Business(business)) => match business.body {
                Some(proto::business::Body::Response(response)) => {
                    self.hear_response(link, &business.sequence, response.payload);
                }
                Some(proto::business::Body::Notification(notification)) => {
                    self.hear_notification(link, notification);
                }
                Some(proto::business::Body::Request(_)) | None => {}
            },
            Some(Body::Session(_) | Body::Heartbeat(_)) | None => {}
        }
    }

    fn hear_failure(&mut self, link: usize, code: u32, failure: Option<proto::Failure>) {
        let failure = failure.unwrap_or_default();
        if code != 101 {
            return self.token_refused(link, Some(failure.reason()));
        }
        let asked = self.links[link].asked.remove(&failure.sequence);
        if let Some((Asked::Chat { .. } | Asked::Publish | Asked::Like, _)) = asked {
            self.note_chat_refused(failure.reason());
        }
        if let Some(answer) = answer_of(&failure.sequence) {
            self.races.answers_refused += 1;
            let bound = failure.reason() == proto::Reason::AnswerBound;
            self.races.tickets_bound += u64::from(bound);
            let expired = failure.reason() == proto::Reason::TicketInvalid;
            self.races.tickets_expired += u64::from(expired);
            self.reply_came(link, answer, Reply::Refused(failure.reason()));
        }
    }

    pub(crate) fn hear_response(
        &mut self,
        link: usize,
        sequence: &str,
        payload: Option<proto::response::Payload>,
    ) {
        use proto::response::Payload;
        let asked = self.links[link].asked.remove(sequence);
        match payload {
            Some(Payload::Joined(joined)) => self.hear_joined(link, asked.map(|it| it.0), &joined),
            Some(Payload::Left(_)) => {
                self.links[link].lanes.left();
                self.links[link].in_show = None;
            }
            Some(Payload::ChatPublished(published)) => {
                self.chat_acknowledged(link, asked.map(|it| it.0), published.stamp);
            }
            Some(
                Payload::Published(_)
                | Payload::Liked(_)
                | Payload::Redeemed(_)
                | Payload::Purse(_),
            )
            | None => {}
            Some(Payload::Withdrawal(told)) => self.hear_request_done(link, &told.key, true),
            Some(Payload::Given(told)) => self.hear_request_done(link, &told.key, false),
            Some(Payload::Grabbed(grabbed)) => self.hear_grabbed(link, &grabbed),
            Some(Payload::AnswerReceived(received)) => {
                let Some(answer) = answer_of(sequence) else { return };
                self.reply_came(link, answer, Reply::Acknowledged);
                self.acknowledged(answer, received.result.is_some());
                if let Some(result) = received.result {
                    self.hear_result(link, &result);
                }
            }
            Some(Payload::RetryAnswer(retry)) => {
                let Some(answer) = answer_of(sequence) else { return };
                self.races.tickets += 1;
                self.reply_came(link, answer, Reply::Retry);
                let player = self.links[link].player;
                self.retry_later(player, answer, retry.retry_after_ms, retry.ticket);
            }
        }
    }

    fn hear_joined(&mut self, link: usize, asked: Option<Asked>, joined: &proto::Joined) {
        let wish = match asked {
            Some(Asked::Join { epoch, versions }) => versions.map(|versions| (epoch, versions)),
            _ => self.links[link].first_wish.take().and_then(|(epoch, it)| Some((epoch, it?))),
        };
        let (player, host) = (self.links[link].player, self.links[link].host);
        if wish.is_some() {
            self.races.resumed += u64::from(joined.resumed);
            self.races.not_resumed += u64::from(!joined.resumed);
            let before = self.players[player].positions.get(&joined.room_id);
            let elsewhere = before.is_some_and(|(.., shard)| *shard != host);
            self.races.resumed_across_shards += u64::from(joined.resumed && elsewhere);
        }
        self.links[link].lanes.joined(joined, wish, &mut self.findings);
        let show = self.setup.shows.iter().position(|it| it.room == RoomId(joined.room_id));
        self.links[link].in_show = show.map(|show| (show, self.now));
        let announced = show.is_none_or(|show| !self.events[show].is_empty());
        self.races.joins_before_show += u64::from(!announced);
        self.note_position(link);
        // The player changed its mind while the answer was on its way.
        let wanted = self.players[player].room;
        if wanted.0 != joined.room_id && self.links[link].asked.is_empty() {
            self.say_join(link, true);
        }
    }

    fn note_position(&mut self, link: usize) {
        if let Some((room, epoch, seen)) = self.links[link].lanes.position() {
            let host = self.links[link].host;
            self.players[self.links[link].player].positions.insert(room, (epoch, seen, host));
        }
    }

    fn hear_notification(&mut self, link: usize, notification: proto::Notification) {
        use proto::notification::Payload;
        if let Some(stamp) = &notification.stamp {
            let heard = span(stamp.version, notification.payload.as_ref());
            self.races.batches += u64::from(heard.versions > 1);
            self.races.thinned += u64::from(heard.versions - heard.carried);
            self.links[link].lanes.message(stamp, heard, &mut self.findings);
            if let Some(lane) = lane_index(stamp.lane).filter(|_| self.is_of_this_run(link)) {
                self.heard[self.links[link].host].message(Lane::ALL[lane], heard);
            }
            if stamp.lane() == proto::Lane::Low {
                self.hear_low(stamp, notification.payload.as_ref());
            }
            self.note_position(link);
        }
        match notification.payload {
            Some(Payload::Gap(gap)) => {
                self.races.gaps += 1;
                self.races.gaps_high += u64::from(gap.lane() == proto::Lane::High);
                self.links[link].lanes.gap(&gap, &mut self.findings);
                if let Some(lane) = lane_index(gap.lane).filter(|_| self.is_of_this_run(link)) {
                    let versions = gap.last_missing + 1 - gap.first_missing;
                    self.heard[self.links[link].host].gap(Lane::ALL[lane], versions);
                }
                self.note_position(link);
            }
            Some(Payload::Question(question)) => self.hear_question(link, &question),
            Some(Payload::SealedQuestion(sealed)) => self.hear_sealed(link, sealed),
            Some(Payload::QuestionKey(key)) => self.hear_key(link, &key),
            Some(Payload::QuestionWithdrawn(_)) => self.races.withdrawals_heard += 1,
            Some(Payload::Snapshot(snapshot)) => {
                if let Some(reveal) = &snapshot.last_reveal {
                    self.hear_reveal(reveal);
                }
                if let Some(question) = &snapshot.open_question {
                    self.hear_question(link, question);
                }
                if let Some(result) = &snapshot.recorded_result {
                    self.hear_result(link, result);
                }
            }
            Some(Payload::Rain(rain)) => self.hear_rain(link, &rain),
            Some(Payload::Result(result)) => self.hear_result(link, &result),
            Some(Payload::Reveal(reveal)) => self.hear_reveal(&reveal),
            Some(Payload::QuestionVoided(_) | Payload::Rejudged(_)) => {
                let player = self.links[link].player;
                for show in &mut self.players[player].shows {
                    show.is_out = false;
                }
            }
            Some(
                Payload::RoomMessage(_)
                | Payload::RoomBatch(_)
                | Payload::RoomInfo(_)
                | Payload::RoomClosed(_)
                | Payload::ShowState(_)
                | Payload::Settled(_)
                | Payload::QuestionExtended(_)
                | Payload::GiftShown(_),
            )
            | None => {}
        }
    }

    pub(crate) fn show_place(&self, show: u64) -> Option<usize> {
        self.setup.shows.iter().position(|it| it.id == ShowId(show))
    }

    pub(crate) fn hear_question(&mut self, link: usize, question: &proto::Question) {
        let Some(show) = self.show_place(question.show_id) else { return };
        let known = self.commitments.entry((show, question.question));
        let known = known.or_insert_with(|| question.commitment.to_vec());
        self.findings.check(*known == question.commitment[..], Promise::Seals, || {
            format!("two commitments for {question:?}")
        });
        let player = self.links[link].player;
        self.watch.heard(show, question.question, player, link, self.now);
        self.plan(player, show, question.question, question.answer_by_ms);
    }

    fn hear_result(&mut self, link: usize, result: &proto::SealedResult) {
        let user = self.players[self.links[link].player].user;
        self.seals.given(user, result, &mut self.findings);
        let opened = self.seals.open_late(user, result, &mut self.findings);
        let Some(show) = self.show_place(result.show_id) else { return };
        if let (Some(opened), Ok(question)) = (opened, u16::try_from(result.question)) {
            self.result_opened(show, QuestionIndex(question), opened);
        }
    }

    fn hear_reveal(&mut self, reveal: &proto::Reveal) {
        let Some(show) = self.show_place(reveal.show_id) else { return };
        let committed = self.commitments.get(&(show, reveal.question)).map(Vec::as_slice);
        let opened = self.seals.revealed(reveal, committed, &mut self.findings);
        let question = QuestionIndex(u16::try_from(reveal.question).unwrap_or(u16::MAX));
        let correct = OptionIndex(u8::try_from(reveal.correct_option).unwrap_or(u8::MAX));
        let defined = self.setup.shows[show].questions[question.index()].correct;
        self.findings.check(correct == defined, Promise::Seals, || format!("{reveal:?} is wrong"));
        for opened in opened {
            self.result_opened(show, question, opened);
        }
    }
}

/// The versions that a frame stands for.
fn span(first: u64, payload: Option<&proto::notification::Payload>) -> Span {
    let Some(proto::notification::Payload::RoomBatch(batch)) = payload else {
        return Span::one(first);
    };
    let count = batch.messages.len() + usize::from(batch.info.is_some());
    let carried = u32::try_from(count).unwrap_or(u32::MAX);
    let thinned: u32 = batch.thinned.iter().map(|byte| byte.count_ones()).sum();
    Span { first, versions: carried + thinned, carried }
}

/// The answer that a sequence stands for.
pub(crate) fn answer_of(sequence: &str) -> Option<usize> {
    sequence.strip_prefix('a')?.parse().ok()
}
