// Maps that cannot be used say where and why; the shipped ones can.

import Bytes
import Contracts
import Foundation
import LineFiles
import Simulation
import Testing

@testable import EventMapping

@Suite struct EventMapTests {
    func problem(_ map: String) -> String {
        do {
            _ = try map.lendBytes { try EventMap(parsing: $0) }
            return "fine"
        } catch { return "\(error)" }
    }

    static let fields = #""fields":{"type":{"value":"click"},"time_ms":"/t"}"#

    @Test(arguments: [
        ("{", "the map: it is not JSON"),
        ("[]", "the map: it must be an object, not an array"),
        (#"{"input":"json","events":[]}"#, "the map: name is missing"),
        (
            #"{"name":"m","input":"xml","events":[]}"#,
            "the map at /input: xml is none of json, csv, tsv"
        ),
        (
            #"{"name":"m","input":"json","events":[]}"#,
            "the map at /events: there must be at least one event"
        ),
        (
            #"{"name":"m","input":"json","evnets":[]}"#,
            "the map at /evnets: a map knows no such member; did you mean events?"
        ),
        (
            #"{"name":"m","input":"json","columns":["a"],"events":[]}"#,
            "the map at /columns: JSON lines have no columns"
        ),
        (
            #"{"name":"m","input":"json","events":[{"fields":{"type":"/x"}}]}"#,
            "the map at /events/0/fields: every event needs time_ms"
        ),
        (
            #"{"name":"m","input":"json","events":[{"fields":{"type":"/x","time_ms":"t"}}]}"#,
            "the map at /events/0/fields/time_ms: t is no JSON Pointer; it must begin with /"
        ),
        (
            #"{"name":"m","input":"json","events":[{"fields":{"type":"./x","time_ms":"/t"}}]}"#,
            "the map at /events/0/fields/type: ./x: there is no list around it"
        ),
        (
            #"{"name":"m","input":"json","events":[{"fields":{"type":{"index":1},"time_ms":"/t"}}]}"#,
            "the map at /events/0/fields/type/index: there is no list around it"
        ),
        (
            #"{"name":"m","input":"json","events":[{"fields":{"type":{"from":"/a","value":1},"time_ms":"/t"}}]}"#,
            "the map at /events/0/fields/type: it needs one of value, from, text and index, not 2"
        ),
        (
            #"{"name":"m","input":"json","events":[{"fields":{"type":{"from":[]},"time_ms":"/t"}}]}"#,
            "the map at /events/0/fields/type/from: it names no place"
        ),
        (
            #"{"name":"m","input":"json","events":[{"fields":{"type":{"text":"{/a"},"time_ms":"/t"}}]}"#,
            "the map at /events/0/fields/type/text: a brace is not closed in {/a"
        ),
        (
            #"{"name":"m","input":"json","events":[{"fields":{"type":"/a/[x]","time_ms":"/t"}}]}"#,
            "the map at /events/0/fields/type: [x] must be [key=value]"
        ),
        (
            #"{"name":"m","input":"json","events":[{"fields":{"type":"/a","time_ms":{"from":"/t","time":"minutes"}}}]}"#,
            "the map at /events/0/fields/time_ms/time: minutes is none of ms, s, us, ns, iso8601"
        ),
        (
            #"{"name":"m","input":"json","events":[{"fields":{"type":"/a","time_ms":"/t","itemid":"/i"}}]}"#,
            "the map at /events/0/fields/itemid: a map knows no such member; did you mean item_id?"
        ),
        (
            #"{"name":"m","input":"json","events":[{"fields":{"type":{"value":[]},"time_ms":"/t"}}]}"#,
            "the map at /events/0/fields/type/value: it must be a text, a number or a truth value"
        ),
        (
            #"{"name":"m","input":"json","events":[{"fields":{"type":{"from":"/a","otherwise":1},"time_ms":"/t"}}]}"#,
            "the map at /events/0/fields/type/otherwise: there are no words beside it"
        ),
        (
            #"{"name":"m","input":"csv","columns":["type"],"events":[{"fields":{"type":"typ","time_ms":"t"}}]}"#,
            "the map at /events/0/fields/type: there is no column typ; did you mean type?"
        ),
        (
            #"{"name":"m","input":"csv","events":[{"each":"x","fields":{"type":"a","time_ms":"t"}}]}"#,
            "the map at /events/0/each: x: only JSON has lists"
        ),
    ])
    func `a map that cannot be used says where and why`(map: String, message: String) {
        #expect(problem(map).hasPrefix(message), "\(problem(map))")
    }

    @Test func `the example of the README is a map`() throws {
        let readme = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../Sources/EventMapping/README.md")
        let text = try String(contentsOf: readme, encoding: .utf8)
        let example = text.split(separator: "```json\n")[1].split(separator: "```")[0]
        #expect(problem(String(example)) == "fine")
    }

    @Test(arguments: ShippedMap.allCases) func `a shipped map can be used`(shipped: ShippedMap)
        throws
    {
        #expect(try shipped.map.name == shipped.rawValue)
        #expect(try !shipped.map.about.isEmpty)
    }

    @Test func `GA4 lists, clicks and purchases meet by session and list`() throws {
        let map = try Mapped(.ga4)
        let session =
            #""user_pseudo_id":"77.88","event_params":[{"key":"ga_session_id","value":{"string_value":null,"int_value":"1612069510"}},{"key":"currency","value":{"string_value":"USD"}}]"#
        let list =
            #"{"event_name":"view_item_list","event_timestamp":"1612069510766593",\#(session),"platform":"WEB","device":{"category":"mobile"},"geo":{"city":"(not set)","country":"Peru"},"items":[{"item_id":"A","item_list_id":"Home Page","item_list_index":"0"},{"item_id":"B","item_list_id":"Home Page","item_list_index":"1"}]}"#
        #expect(
            map(list) == [
                #"{"context":{"platform":"WEB"},"domain":"home-page","id":"77.88.1612069510766593.view_item_list","#
                    + #""items":[{"item_id":"A","position":1},{"item_id":"B","position":2}],"request_id":"77.88.1612069510.Home Page","#
                    + #""time_ms":1612069510766,"type":"impression","user":{"country":"Peru","device":"mobile"},"user_id":"77.88"}"#
            ])
        let click = list.replacing("view_item_list", with: "select_item")
        #expect(
            map(click)[1]
                == #"{"domain":"home-page","id":"77.88.1612069510766593.select_item.B","item_id":"B","#
                + #""request_id":"77.88.1612069510.Home Page","time_ms":1612069510766,"type":"click","user_id":"77.88"}"#
        )
        let purchase =
            #"{"event_name":"purchase","event_timestamp":"1612069590766593",\#(session),"items":[{"item_id":"B","item_list_id":"Home Page","price":"9.5"},{"item_id":"C","item_list_id":"(not set)","price":3}]}"#
        #expect(
            map(purchase) == [
                #"{"currency":"USD","domain":"home-page","id":"77.88.1612069590766593.purchase.B","item_id":"B","#
                    + #""request_id":"77.88.1612069510.Home Page","time_ms":1612069590766,"type":"conversion","user_id":"77.88","value":9.5}"#
            ])
        #expect(map(#"{"event_name":"page_view","event_timestamp":"1"}"#) == [])
    }

    @Test func `Snowplow lists, clicks and transactions meet by session`() throws {
        let map = try Mapped(.snowplow)
        func event(_ type: String) -> String {
            #"{"app_id":"Shop","platform":"web","collector_tstamp":"2023-11-14T22:13:21.000Z","derived_tstamp":"2023-11-14T22:13:20.123Z","event_id":"e1","domain_userid":"d1","domain_sessionid":"s1","geo_country":"PE","unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1":{"type":"\#(type)","name":"Recommended"},"contexts_com_snowplowanalytics_snowplow_ecommerce_product_1":[{"id":"P1","price":100,"currency":"USD","position":3}]}"#
        }
        #expect(
            map(event("list_view")) == [
                #"{"context":{"list":"Recommended","platform":"web"},"domain":"shop","id":"e1","items":[{"item_id":"P1","position":3}],"#
                    + #""request_id":"s1","time_ms":1700000000123,"type":"impression","user":{"country":"PE"},"user_id":"d1"}"#
            ])
        #expect(
            map(event("list_click")) == [
                #"{"domain":"shop","id":"e1.P1","item_id":"P1","request_id":"s1","time_ms":1700000000123,"type":"click","user_id":"d1"}"#
            ])
        #expect(
            map(event("transaction"))[0].hasSuffix(
                #""type":"conversion","user_id":"d1","value":100}"#))
        #expect(map(event("product_view")) == [])
    }

    @Test func `the RankLens map makes the importer's events`() throws {
        let folder = NSTemporaryDirectory() + "map-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let header = "ts_ms,user,list_id,position,item,click,query_tag,domain,cluster"
        let rows = [
            "1000,u2,b,0,3,0,war,comedy,1", "1000,u2,b,1,5,1,war,comedy,1",
            "1000,u1,a,0,4,0,,scifi,2",
            "9000,u3,c,0,7,1,,comedy,1",
        ]
        func write(_ text: String, _ name: String) throws {
            try text.lendBytes { try LineWriter.write($0, to: folder + "/" + name) }
        }
        try write(([header] + rows).joined(separator: "\n"), "events.csv.gz")
        try write("", "items.jsonl")
        _ = try RankLensImport.run(from: folder, to: folder + "/out")
        var imported: [String] = []
        var reader = try LineReader.open(folder + "/out/events.jsonl.gz")
        while let line = try reader.next() { imported.append(line.bytes.text) }
        let map = try Mapped(.ranklens, header: header)
        #expect(rows.flatMap { map($0) }.sorted() == imported.sorted())
    }
}
