//! The JavaScript client, which every gateway serves as it speaks it.

use crate::base::ids::ConnId;
use crate::shard::Shard;
use crate::wire::short::{Reply, ShortRequest};

/// How long a browser uses its copy without asking. Short, because the module and the gateway are
/// updated together; asking again costs a request without a body.
const CACHE_CONTROL: &str = "public, max-age=300";

/// A file that is part of the program.
#[derive(Clone, Copy)]
pub(super) struct Asset {
    media_type: &'static str,
    body: &'static str,
    /// Changes with the body.
    tag: u64,
}

const SCRIPT: Asset =
    Asset::new("text/javascript; charset=utf-8", include_str!("../../web/tidegate.js"));
/// No media type is registered for TypeScript; the one that servers guess for `.ts` is a video's.
const TYPES: Asset =
    Asset::new("text/plain; charset=utf-8", include_str!("../../web/tidegate.d.ts"));

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
        Asset { media_type, body, tag }
    }

    pub(super) fn at(path: &str) -> Option<Asset> {
        match path {
            "/tidegate.js" => Some(SCRIPT),
            "/tidegate.d.ts" => Some(TYPES),
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
            .header("Cache-Control", CACHE_CONTROL)
            .header("X-Content-Type-Options", "nosniff")
            .readable_by(&self.pages_of(id))
            .header("Cross-Origin-Resource-Policy", "cross-origin");
        self.short_reply(id, reply, |reply| match is_known {
            true => reply.empty(),
            false => reply.with_body(asset.media_type, asset.body.as_bytes()),
        });
    }
}
