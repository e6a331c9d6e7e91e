//! Compiles `proto/tidegate` with a pure-Rust compiler: no system `protoc` is needed.

use std::error::Error;

const SCHEMA: [&str; 5] = [
    "tidegate/v1/frame.proto",
    "tidegate/v1/business.proto",
    "tidegate/v1/room.proto",
    "tidegate/v1/quiz.proto",
    "tidegate/v1/money.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/tidegate");
    let descriptors = protox::compile(SCHEMA, ["proto"])?;
    let mut json = pbjson_build::Builder::new();
    for file in &descriptors.file {
        json.register_file_descriptor(file.clone());
    }
    // A reader ignores what it does not know: that is how the protocol may grow.
    json.ignore_unknown_fields().build(&[".tidegate.v1"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    let server = protox::compile(["tidegate/server/v1/server.proto"], ["proto"])?;
    server_api().compile_fds(server)?;
    let stored = protox::compile(["tidegate/store/v1/record.proto"], ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(stored)?;
    Ok(())
}

/// The messages of the server API. Their JSON is in the API's own words: names as in the schema,
/// numbers as numbers, and what it does not know is refused, because a slip in an operator's request
/// must not pass as a default.
fn server_api() -> prost_build::Config {
    const REQUESTS: &str = "Publish Broadcast CloseRoom ConfigureRoom RoomSettings SlowReaders \
        Disconnect Mute Unmute Ban Unban RevokeUser RevokeToken Batch";
    const ANSWERS: &str = "Published BroadcastDone RoomOutcome.answer RoomClosed Room LaneStatus \
        Rooms RoomSummary Online OnlineAll History HistoryMessage.body Disconnected Muted Banned \
        Bans UserRevoked TokenRevoked BatchDone Outcome.answer Error Failure";
    const ONEOFS: &str =
        "RoomOutcome.answer HistoryMessage.body Outcome.answer Operation.operation";
    const LEFT_OUT: &str = "RoomSettings.chat_per_second RoomSettings.opaque_allowed \
        RoomSettings.low_per_second RoomSettings.kept_kinds RoomSettings.slow_readers \
        RoomSettings.egress_bytes_per_second SlowReaders.high SlowReaders.mid SlowReaders.low \
        Banned.until Rooms.next_after Bans.next_after History.next_from";
    let names = |list: &'static str| {
        list.split_whitespace().map(|name| format!(".tidegate.server.v1.{name}"))
    };
    let mut config = prost_build::Config::new();
    config.bytes(["."]).extern_path(".tidegate.v1", "crate::wire::proto");
    for name in names(REQUESTS) {
        config.type_attribute(&name, "#[derive(serde::Serialize, serde::Deserialize)]");
        config.message_attribute(&name, "#[serde(default, deny_unknown_fields)]");
    }
    for name in names("Operation Kinds") {
        config.type_attribute(&name, "#[derive(serde::Serialize, serde::Deserialize)]");
        config.message_attribute(&name, "#[serde(transparent)]");
    }
    for name in names(ANSWERS) {
        config.type_attribute(name, "#[derive(serde::Serialize)]");
    }
    for name in names(ONEOFS) {
        config.type_attribute(name, "#[serde(rename_all = \"snake_case\")]");
    }
    for name in names(LEFT_OUT) {
        config.field_attribute(name, "#[serde(skip_serializing_if = \"Option::is_none\")]");
    }
    let how = "crate::ops::http::schema";
    for name in names("Publish.lane Broadcast.lane LaneStatus.lane History.lane") {
        config.field_attribute(name, format!("#[serde(with = \"{how}::lane\")]"));
    }
    for name in names("Publish.messages Broadcast.messages") {
        config.field_attribute(name, format!("#[serde(with = \"{how}::base64_list\")]"));
    }
    for name in names("HistoryMessage.body.data HistoryMessage.body.notification") {
        config.field_attribute(name, format!("#[serde(serialize_with = \"{how}::base64\")]"));
    }
    config
}
