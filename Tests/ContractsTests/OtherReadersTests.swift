// Broken records of the other topics: what their readers say.

import Bytes
import JSON
import Testing

@testable import Contracts

@Suite struct OtherReadersTests {
    /// A record of `topic` from its examples, with one member changed.
    private func refusal(_ topic: Topic, _ example: Int, _ name: String, _ value: String?) throws
        -> ContractError?
    {
        let whole = try JSONValue(parsing: TopicContract(topic).examples[example].value)
        var members = whole.members!.filter { $0.name != name }
        if let value { members.append(JSONMember(name, try JSONValue(parsing: value))) }
        var rewriter = Rewriter()
        do {
            _ = try rewriter.rewrite(topic, JSONValue.object(members).canonicalBytes)
            return nil
        } catch {
            return error as? ContractError
        }
    }

    @Test(
        arguments: [
            ("item_id", nil, "missing_field", "/item_id"),
            ("title", nil, "missing_field", "/title"),
            ("time_ms", nil, "missing_field", "/time_ms"), ("title", "7", "wrong_type", "/title"),
            ("tags", "\"a\"", "wrong_type", "/tags"),
            ("tags", "[\"a\",1]", "wrong_type", "/tags/1"),
            ("tags", "[\"\"]", "out_of_range", "/tags/0"),
            ("kind", "\"film\"", "invalid_value", "/kind"),
            ("domains", "[\"d\",\"A\"]", "invalid_value", "/domains/1"),
            ("available", "1", "wrong_type", "/available"),
            ("attributes", "[]", "wrong_type", "/attributes"),
            ("attributes", #"{"a":{}}"#, "wrong_type", "/attributes/a"),
            ("attributes", #"{"a":[1,[2]]}"#, "wrong_type", "/attributes/a/1"),
            ("attributes", #"{"a":[1,null]}"#, "wrong_type", "/attributes/a/1"),
            (
                "attributes", "{" + (0..<33).map { "\"a\($0)\":1" }.joined(separator: ",") + "}",
                "too_many_values", "/attributes"
            ),
            ("published_ms", "-1", "out_of_range", "/published_ms"),
        ] as [(String, String?, String, String)])
    func `a broken catalog record is refused by path`(
        name: String, value: String?, reason: String, path: String
    ) throws {
        let error = try refusal(.catalog, 0, name, value)
        #expect(error.map { "\($0.reason)" } == reason)
        #expect(error?.path == path)
    }

    @Test(
        arguments: [
            (0, "kind", nil, "/kind"), (0, "kind", "\"impressions\"", "/kind"),
            (0, "kind", "3", "/kind"),
            (0, "user", "\"u17\"", "/user"), (0, "user", "\"3F0C9A1B5D7E2468\"", "/user"),
            (0, "user", nil, "/user"),
            (0, "source", "-1", "/source"), (0, "ordinal", nil, "/ordinal"),
            (0, "history", "[1]", "/history/0"),
            (0, "user_clicks", "-1", "/user_clicks"), (0, "domain", nil, "/domain"),
            (1, "query", "\"q\"", "/query"),
            (2, "task", "\"buy\"", "/task"), (2, "value", "2", "/value"),
            (2, "revision", nil, "/revision"),
            (4, "grade", "1.5", "/grade"), (5, "title", nil, "/title"),
            (5, "item_kind", "\"x\"", "/item_kind"),
            (6, "deleted", "1", "/deleted"), (8, "hash", "\"\"", "/hash"),
            (9, "items", "[[\"a\",1]]", "/items/0"),
            (9, "items", "[[\"a\",1,2],[1,1,2]]", "/items/1/0"), (9, "block", "2", "/block"),
            (9, "blocks", "0", "/blocks"),
            (10, "weights", #"{"w":[1,"2"]}"#, "/weights/w/1"),
            (10, "weights", #"{"w":1}"#, "/weights/w"),
            (11, "ordinals", "[1,-1]", "/ordinals/1"), (12, "settings", "[]", "/settings"),
            (12, "hash", nil, "/hash"),
            (13, "domains", #"{"A":{}}"#, "/domains"),
            (13, "domains", #"{"a":{"late":-1}}"#, "/domains/a"),
            (14, "close", "\"yes\"", "/close"),
            (15, "vector", nil, "/vector"), (15, "encoder", nil, "/encoder"),
            (15, "vector", "\"ADg\"", "/vector"), (15, "vector", "\"ADgA\"", "/vector"),
            (15, "vector", "\"\"", "/vector"), (15, "vector", "[0.5]", "/vector"),
            (15, "encoder", "\"minilm\"", "/encoder"), (16, "encoder", nil, "/encoder"),
            (16, "vector", "\"ADgAu?==\"", "/vector"),
        ] as [(Int, String, String?, String)])
    func `a broken record of domain-log is refused by path`(
        example: Int, name: String, value: String?, path: String
    ) throws {
        #expect(try refusal(.domainLog, example, name, value)?.path == path)
    }

    @Test(arguments: [
        Topic.scores, .domainStatistics, .evaluations, .examples, .deadLetters, .texts,
    ])
    func `published records need every required field`(topic: Topic) throws {
        for name in TopicContract(topic).schema!["required"]!.array!.map({ $0.text! }) {
            let error = try refusal(topic, 0, name, nil)
            let isNullable = TopicContract(topic).schema!["properties"]![name]!["anyOf"] != nil
            #expect(isNullable ? error == nil : error?.path == "/\(name)", "\(topic.name) \(name)")
        }
    }

    @Test(
        arguments: [
            (Topic.scores, "score", "1.5", "/score"), (.scores, "stage", "\"old\"", "/stage"),
            (.scores, "rank", "0", "/rank"),
            (.domainStatistics, "rates", "[{}]", "/rates/0/half_life_s"),
            (.domainStatistics, "prior", "{}", "/prior/mean"),
            (.domainStatistics, "position", "[{\"position\":0}]", "/position/0/position"),
            (.evaluations, "slice", "{\"by\":\"all\"}", "/slice/value"),
            (.evaluations, "auc", "2", "/auc"),
            (.examples, "examples", "[{}]", "/examples/0/impression_id"),
            (.examples, "examples", "{}", "/examples"),
            (.deadLetters, "reason", "\"bad\"", "/reason"),
            (.deadLetters, "value_base64", "\"?\"", "/value_base64"),
            (.texts, "hash", "\"x\"", "/hash"),
        ] as [(Topic, String, String, String)])
    func `a broken published record is refused by path`(
        topic: Topic, name: String, value: String, path: String
    ) throws {
        #expect(try refusal(topic, 0, name, value)?.path == path)
    }

    @Test func `a dead letter keeps the first 64 KiB of a value and says how long it was`() throws {
        let value = [UInt8](repeating: 0xFF, count: 100_000)
        var buffer = ByteBuffer()
        value.lend { value in
            "too long".lend { text in
                DeadLetter(.too_large, message: text, topic: text, key: nil, value: value).append(
                    to: &buffer)
            }
        }
        let reader = RecordReader()
        let letter = try reader.deadLetter(buffer.slice)
        #expect(letter.value?.count == 65_536)
        #expect(letter.value_bytes == 100_000)
        #expect(letter.key == nil)
        withExtendedLifetime(reader) {}
    }
}
