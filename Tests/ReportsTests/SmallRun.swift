// A small folder of outputs that every run of the tests writes alike.

import Bytes
import Foundation
import LineFiles

#if canImport(Glibc)
    import Glibc
#endif

/// Two domains, of which the second starts 20 minutes after the first; removed when it goes away.
final class SmallRun {
    let folder: String

    init() throws {
        let parent = NSTemporaryDirectory()
        var template = Array((parent + "coldstream-reports.XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw LineFileError("make", parent, "no folder") }
        folder = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        try write("summary.json", [SmallRun.summary])
        try write("examples.jsonl", SmallRun.examples)
        try write("evaluations.jsonl", SmallRun.evaluations)
        try write("scores.jsonl", SmallRun.scores)
        try write("dead-letters.jsonl", SmallRun.deadLetters)
        try write("truth.jsonl", SmallRun.truth)
        try write("truth-items.jsonl", SmallRun.truthItems)
    }

    deinit {
        for name in [
            "summary.json", "examples.jsonl", "evaluations.jsonl", "scores.jsonl",
            "dead-letters.jsonl", "truth.jsonl", "truth-items.jsonl",
        ] {
            unlink("\(folder)/\(name)")
        }
        rmdir(folder)
    }

    func write(_ name: String, _ lines: [String]) throws {
        var text = ByteBuffer()
        for line in lines {
            text.append(line)
            text.append("\n" as StaticString)
        }
        try LineWriter.write(text.slice, to: "\(folder)/\(name)")
    }

    private static let summary = """
        {"clicks":230,"corrections":2,"dead_letters":3,"domains":{"feed":{"auc":0.7,"calibration":1,\
        "clicks":150,"ctr":0.25,"gauc":0.7,"impressions":600,"log_loss":0.5},"new.feed":{"auc":0.7,\
        "calibration":1,"clicks":80,"ctr":0.2,"gauc":0.7,"impressions":400,"log_loss":0.5}},\
        "duplicates":4,"events":1248,"events_per_second":12480,"evictions":0,"freshness_ms":\
        {"p50":null,"p99":null},"impressions":1000,"labels":1000,"memory_peak_bytes":104857600,\
        "orphans":1,"overall":{"auc":0.7,"calibration":1,"gauc":0.7,"log_loss":0.5},\
        "scores_published":77,"seconds":0.1,"used":1240}
        """

    /// Every tenth item of a request of ten is clicked more; predictions see a part of it.
    private static var examples: [String] {
        var lines: [String] = []
        for (domain, count, start) in [("feed", 600, 0), ("new.feed", 400, 1_200_000)] {
            for first in stride(from: 0, to: count, by: 10) {
                let examples = (first..<first + 10).map { i -> String in
                    let clicked = (i * 7 + i / 10) % 10 < (i % 10 < 4 ? 4 : 1) ? 1 : 0
                    let prediction = i % 10 < 4 ? 0.4 + Double(first) / 4_000 : 0.125
                    return """
                        {"dense":[],"hashed":[],"impression_id":"\(domain)-\(i)","item":\
                        "0000000000000001","kept_share":1,"label":\(clicked),"position":\(i % 10 + 1),\
                        "prediction":\(prediction),"query":null,"request_id":"r\(i / 10)",\
                        "revision":0,"task":"click","time_ms":\(start + i * 2_000),"user":\
                        "0000000000000002"}
                        """
                }
                lines.append(
                    #"{"domain":"\#(domain)","examples":["# + examples.joined(separator: ",") + "]}"
                )
            }
        }
        // Two clicks that came after their label.
        for i in [4, 14] {
            lines.append(
                """
                {"domain":"feed","examples":[{"impression_id":"feed-\(i)","label":1,"prediction":0.9,\
                "revision":1,"task":"click","time_ms":\(i * 2_000),"user":"0000000000000002"}]}
                """)
        }
        return lines
    }

    private static let evaluations = [
        #"{"domain":"feed","slice":{"by":"all","value":"all"},"examples":600,"auc":0.7,"calibration":1}"#,
        #"{"domain":"feed","slice":{"by":"labels","value":"0"},"examples":10,"auc":null,"calibration":2}"#,
        #"{"domain":"feed","slice":{"by":"labels","value":"0"},"examples":40,"auc":0.61,"calibration":1.1}"#,
        #"{"domain":"feed","slice":{"by":"labels","value":"100+"},"examples":560,"auc":0.7125,"calibration":0.99}"#,
    ]

    private static func score(
        _ domain: String, _ query: String?, _ item: String, _ score: Double, _ std: Double,
        labels: Int
    ) -> String {
        """
        {"domain":"\(domain)","impressions":\(labels + 1),"item_id":"\(item)","labels":\(labels),\
        "query":\(query.map { "\"\($0)\"" } ?? "null"),"rank":1,"score":\(score),"score_std":\(std),\
        "stage":"\(labels == 0 ? "zero_shot" : "learning")","task":"click"}
        """
    }

    private static let scores = [
        score("feed", nil, "a", 0.25, 0.125, labels: 400),
        score("feed", nil, "b", 0.5, 0.5, labels: 12), score("feed", nil, "c", 0.125, 1, labels: 0),
        score("search", "blue shoes", "a", 0.5, 0.25, labels: 20),
        score("search", "red shoes", "a", 0.75, 0.25, labels: 2),
    ]

    private static let truth = (0..<600).map {
        #"{"impression_id":"feed-\#($0)","probability":\#($0 % 10 < 4 ? 0.4 : 0.125)}"#
    }

    private static let truthItems = [
        #"{"domain":"feed","item_id":"a","probability":0.25,"query":null}"#,
        #"{"domain":"feed","item_id":"b","probability":0.9,"query":null}"#,
        #"{"domain":"feed","item_id":"c","probability":0.25,"query":null}"#,
        #"{"domain":"search","item_id":"a","probability":0.5,"query":"blue shoes"}"#,
    ]

    private static let deadLetters = [
        #"{"input":"events.jsonl","line":7,"message":"It is not JSON.","reason":"invalid_json","topic":"events","value_base64":"eyI=","value_bytes":2}"#,
        #"{"message":"/type is missing.","ordinal":3,"partition":0,"reason":"missing_field","topic":"events","value_base64":"e30=","value_bytes":2}"#,
        #"{"message":"It is not JSON.","ordinal":4,"partition":0,"reason":"invalid_json","topic":"events","value_base64":"AP8=","value_bytes":2}"#,
    ]
}
