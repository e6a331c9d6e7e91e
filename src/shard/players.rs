//! What players ask by way of another thread of this process, which has verified the signatures of
//! their tokens: the REST for players.
//!
//! Revocations and bans are known here, so every request comes to its user's home; what it asks for
//! is done by the same code as on a WebSocket, with the same promise of durability.

use crate::auth::invitation;
use crate::base::ids::UserId;
use crate::quiz::money::Cents;
use crate::quiz::requests::MoneyKey;
use crate::shard::Shard;
use crate::shard::input::Effect;
use crate::shard::messages;
use crate::shard::money_mail::{MoneyAsk, ReplyTo};
use crate::shard::operator::OperatorAnswer;
use crate::wire::proto;

/// A request of a player whose token is genuine and has not expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayerRequest {
    /// What the token says.
    pub holder: TokenHolder,
    /// What is asked for.
    pub ask: PlayerAsk,
}

/// What a verified token says of its holder, as far as revocations are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHolder {
    /// Who.
    pub user: UserId,
    /// `iat`, Unix seconds.
    pub issued_unix_s: Option<i64>,
    /// `jti`.
    pub token_id: Option<String>,
}

/// What a player can ask for here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlayerAsk {
    /// Whether the token is good still.
    Admittance,
    /// What the player has.
    Purse,
    /// Money out of the balance.
    Withdraw {
        /// Happens once.
        key: MoneyKey,
        /// How much.
        cents: Cents,
    },
    /// To have come by somebody's invitation.
    Redeem {
        /// Whose code.
        code: String,
    },
}

/// What a player is told; nothing but admittance has no payload.
pub type PlayerAnswer = Result<Option<proto::response::Payload>, proto::Failure>;

impl Shard {
    /// At the user's home: the answer comes as [`Effect::Answer`], durable if it promises something.
    pub(crate) fn player_asks(&mut self, ticket: u64, request: PlayerRequest) {
        let PlayerRequest { holder, ask } = request;
        let user = holder.user;
        if let Some(failure) = self.refuses_holder(&holder) {
            self.counters.tokens_refused += 1;
            return self.answer_player(ticket, Err(failure));
        }
        let ask = match ask {
            PlayerAsk::Admittance => return self.answer_player(ticket, Ok(None)),
            PlayerAsk::Purse => MoneyAsk::Purse,
            PlayerAsk::Withdraw { key, cents } => MoneyAsk::Withdraw { key, cents },
            PlayerAsk::Redeem { code } => match invitation::user_of(&self.ticket_key, &code) {
                Some(inviter) => MoneyAsk::Redeem { inviter },
                None => {
                    let text = "this is no invitation code";
                    let failure = messages::failure(proto::Reason::CodeInvalid, text);
                    return self.answer_player(ticket, Err(failure));
                }
            },
        };
        self.money_asked(user, ask, ReplyTo::Caller { shard: self.config.me, ticket });
    }

    /// Answers another thread of this process.
    pub(crate) fn answer_player(&mut self, ticket: u64, said: PlayerAnswer) {
        let answer = Ok(OperatorAnswer::Player(Box::new(said)));
        self.effects.push(Effect::Answer { ticket, answer });
    }
}
