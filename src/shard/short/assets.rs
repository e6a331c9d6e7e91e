//! The JavaScript client, which every gateway serves as it speaks it, and the page that plays with
//! it.
//!
//! The page needs no switch: it is the same for everybody, can do nothing without an access token
//! that somebody gives it, and keeps that out of every request but those of the client itself. Its
//! text comes from this host alone, and nothing may run in it or frame it that does not.

use crate::base::ids::ConnId;
use crate::shard::Shard;
use crate::wire::short::{Reply, ShortRequest};

/// How long a browser uses its copy without asking. Short, because the module and the gateway are
/// updated together; asking again costs a request without a body.
const CACHE_CONTROL: &str = "public, max-age=300";

/// The files of the page fit each other: a browser asks each time whether its copies are still good.
const PAGE_CACHE_CONTROL: &str = "no-cache";

/// What the page may do: run and show what comes from here, and talk to here. Nothing inline, no
/// text that becomes markup, no frame around it, no form that is sent by the browser itself.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// A file that is part of the program.
#[derive(Clone, Copy)]
pub(super) struct Asset {
    media_type: &'static str,
    body: &'static str,
    /// Changes with the body.
    tag: u64,
    /// Of the page, and not of the client that others' pages use.
    is_page: bool,
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

const SCRIPT: Asset = Asset::new(JAVASCRIPT, include_str!("../../web/tidegate.js"));
/// No media type is registered for TypeScript; the one that servers guess for `.ts` is a video's.
const TYPES: Asset =
    Asset::new("text/plain; charset=utf-8", include_str!("../../web/tidegate.d.ts"));

const PAGE: Asset =
    Asset::of_page("text/html; charset=utf-8", include_str!("../../web/play/page.html"));
const PAGE_SCRIPT: Asset = Asset::of_page(JAVASCRIPT, include_str!("../../web/play/page.js"));
const PAGE_GAME: Asset = Asset::of_page(JAVASCRIPT, include_str!("../../web/play/game.js"));
const PAGE_WORDS: Asset = Asset::of_page(JAVASCRIPT, include_str!("../../web/play/words.js"));
const PAGE_STYLE: Asset =
    Asset::of_page("text/css; charset=utf-8", include_str!("../../web/play/page.css"));
const PAGE_ICON: Asset = Asset::of_page("image/svg+xml", include_str!("../../web/play/icon.svg"));

impl Asset {
    const fn new(media_type: &'static str, body: &'static str) -> Asset {
        // FNV-1a: whatever tells two versions of a file apart will do, and this is computed by the
        // compiler.
        let bytes = body.as_bytes();
        let mut tag: u64 = 0xcbf2_9ce4_8422_2325;
        let mut index = 0;
        while index < bytes.len() {
            tag = (tag ^ bytes[index] as u64).wrapping_mul(0x0100_0000_01b3);
            index += 1;
        }
        Asset { media_type, body, tag, is_page: false }
    }

    const fn of_page(media_type: &'static str, body: &'static str) -> Asset {
        Asset { is_page: true, ..Asset::new(media_type, body) }
    }

    pub(super) fn at(path: &str) -> Option<Asset> {
        match path {
            "/tidegate.js" => Some(SCRIPT),
            "/tidegate.d.ts" => Some(TYPES),
            "/play" => Some(PAGE),
            "/play/page.js" => Some(PAGE_SCRIPT),
            "/play/game.js" => Some(PAGE_GAME),
            "/play/words.js" => Some(PAGE_WORDS),
            "/play/page.css" => Some(PAGE_STYLE),
            "/play/icon.svg" => Some(PAGE_ICON),
            _ => None,
        }
    }
}

impl Shard {
    /// A file, or that the client's copy is still good.
    pub(super) fn short_asset(&mut self, id: ConnId, asset: Asset, request: &ShortRequest<'_>) {
        let tag = format!("\"{:016x}\"", asset.tag);
        // RFC 9110 §13.1.2: a list, compared without regard to weakness.
        let is_known = request.known_tag.is_some_and(|known| {
            let mut tags = known.split(',').map(|tag| tag.trim_ascii().trim_start_matches("W/"));
            tags.any(|known| known == "*" || known == tag)
        });
        let reply = Reply::new(if is_known { 304 } else { 200 })
            .header("ETag", &tag)
            .header("X-Content-Type-Options", "nosniff")
            .readable_by(&self.pages_of(id));
        let reply = match asset.is_page {
            false => reply
                .header("Cache-Control", CACHE_CONTROL)
                .header("Cross-Origin-Resource-Policy", "cross-origin"),
            true => reply
                .header("Cache-Control", PAGE_CACHE_CONTROL)
                .header("Content-Security-Policy", PAGE_POLICY)
                .header("Referrer-Policy", "no-referrer")
                .header("Cross-Origin-Resource-Policy", "same-origin"),
        };
        self.short_reply(id, reply, |reply| match is_known {
            true => reply.empty(),
            false => reply.with_body(asset.media_type, asset.body.as_bytes()),
        });
    }
}
