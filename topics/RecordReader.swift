// Reads the records that the fleet publishes: for reports, tests, replays and whoever trains on
// them.

import Bytes
import JSON

/// Turns the bytes of published records into structs. Reused; what a call returns lives until the
/// next call, and no longer than the reader.
public final class RecordReader {
    private let parser = JSONParser(maximumDepth: Limit.depth, maximumBytes: 64 << 20)
    private let lists: UnsafeMutablePointer<RecordLists>

    public init() {
        lists = .allocate(capacity: 1)
        lists.initialize(to: RecordLists())
    }

    deinit {
        lists.deinitialize(count: 1)
        lists.deallocate()
    }

    public func score(_ value: ByteSlice) throws(ContractError) -> Score {
        let root = try object(value)
        var score = Score()
        score.domain = try root.field("domain").domain(Place("domain"))
        score.task = try root.field("task").task(Place("task"))
        score.query = try root.optional("query")?.text(Place("query"))
        score.item_id = try root.field("item_id").id(Place("item_id"))
        score.score = try root.field("score").unit(Place("score"))
        score.score_std = try root.field("score_std").amount(Place("score_std"))
        score.rank = Int(try root.field("rank").integer(Place("rank"), in: 1...Int64(Int32.max)))
        score.impressions = try root.field("impressions").count(Place("impressions"))
        score.labels = try root.field("labels").count(Place("labels"))
        let stage = try root.field("stage").text(Place("stage"))
        guard stage.equals("zero_shot") || stage.equals("learning") else {
            throw try root.field("stage").wrongValue(Place("stage"), "zero_shot or learning")
        }
        score.stage = stage.equals("learning") ? .learning : .zero_shot
        score.time_ms = try root.field("time_ms").time(Place("time_ms"))
        score.head_version = try root.field("head_version").count(Place("head_version"))
        score.release = try root.optional("release")?.id(Place("release"))
        score.arm = try root.field("arm").id(Place("arm"))
        score.partition = Int(try root.field("partition").count(Place("partition")))
        score.ordinal = try root.field("ordinal").count(Place("ordinal"))
        return score
    }

    public func domainStatistics(_ value: ByteSlice) throws(ContractError) -> DomainStatistics {
        let root = try object(value)
        var statistics = DomainStatistics()
        statistics.domain = try root.field("domain").domain(Place("domain"))
        statistics.time_ms = try root.field("time_ms").time(Place("time_ms"))
        statistics.partition = Int(try root.field("partition").count(Place("partition")))
        statistics.ordinal = try root.field("ordinal").count(Place("ordinal"))
        statistics.impressions = try root.field("impressions").count(Place("impressions"))
        statistics.labels = try root.field("labels").count(Place("labels"))
        statistics.clicks = try root.field("clicks").count(Place("clicks"))
        statistics.conversions = try root.field("conversions").count(Place("conversions"))
        statistics.corrections = try root.field("corrections").count(Place("corrections"))
        statistics.judgments = try root.field("judgments").count(Place("judgments"))
        statistics.requests = try root.field("requests").count(Place("requests"))
        statistics.requests_clicked = try root.field("requests_clicked").count(
            Place("requests_clicked"))
        statistics.page_rate = try root.optional("page_rate")?.number(Place("page_rate"))
        statistics.users = try root.field("users").count(Place("users"))
        statistics.items = try root.field("items").count(Place("items"))
        statistics.ctr = try root.optional("ctr")?.number(Place("ctr"))
        statistics.duplicates = try root.field("duplicates").count(Place("duplicates"))
        statistics.orphans = try root.field("orphans").count(Place("orphans"))
        statistics.late = try root.field("late").count(Place("late"))
        statistics.dead = try root.field("dead").count(Place("dead"))
        statistics.drift = try root.optional("drift")?.number(Place("drift"))
        let prior = try root.field("prior")
        statistics.prior_mean = try prior.field("mean", in: "prior").number(
            Place("prior", -1, "mean"))
        statistics.prior_strength = try prior.field("strength", in: "prior")
            .number(Place("prior", -1, "strength"))
        let delay = try root.field("label_delay_ms")
        statistics.label_delay_p50_ms = try delay.optional("p50")?.number(
            Place("label_delay_ms", -1, "p50"))
        statistics.label_delay_p90_ms = try delay.optional("p90")?.number(
            Place("label_delay_ms", -1, "p90"))
        statistics.label_delay_p99_ms = try delay.optional("p99")?.number(
            Place("label_delay_ms", -1, "p99"))
        statistics.rates = try lists.pointee.readRates(try root.list("rates"))
        statistics.top_items = try lists.pointee.readTopItems(try root.list("top_items"))
        statistics.position = try lists.pointee.readPositions(try root.list("position"))
        return statistics
    }

    public func evaluation(_ value: ByteSlice) throws(ContractError) -> Evaluation {
        let root = try object(value)
        var evaluation = Evaluation()
        evaluation.domain = try root.field("domain").id(Place("domain"))
        evaluation.arm = try root.field("arm").id(Place("arm"))
        evaluation.release = try root.optional("release")?.id(Place("release"))
        evaluation.head_version = try root.field("head_version").count(Place("head_version"))
        let slice = try root.field("slice")
        evaluation.slice_by = try slice.field("by", in: "slice").id(Place("slice", -1, "by"))
        evaluation.slice_value = try slice.field("value", in: "slice").id(
            Place("slice", -1, "value"))
        evaluation.partition = Int(try root.field("partition").count(Place("partition")))
        evaluation.first_ordinal = try root.field("first_ordinal").count(Place("first_ordinal"))
        evaluation.last_ordinal = try root.field("last_ordinal").count(Place("last_ordinal"))
        evaluation.first_time_ms = try root.field("first_time_ms").time(Place("first_time_ms"))
        evaluation.last_time_ms = try root.field("last_time_ms").time(Place("last_time_ms"))
        evaluation.examples = try root.field("examples").count(Place("examples"))
        evaluation.positives = try root.field("positives").count(Place("positives"))
        evaluation.corrections = try root.field("corrections").count(Place("corrections"))
        evaluation.auc = try root.optional("auc")?.unit(Place("auc"))
        evaluation.gauc = try root.optional("gauc")?.unit(Place("gauc"))
        evaluation.log_loss = try root.optional("log_loss")?.amount(Place("log_loss"))
        evaluation.normalized_entropy = try root.optional("normalized_entropy")?
            .amount(Place("normalized_entropy"))
        evaluation.calibration = try root.optional("calibration")?.amount(Place("calibration"))
        evaluation.ece = try root.optional("ece")?.unit(Place("ece"))
        evaluation.scores_hash = try root.field("scores_hash").id(Place("scores_hash"))
        evaluation.head_hash = try root.field("head_hash").id(Place("head_hash"))
        return evaluation
    }

    public func exampleBatch(_ value: ByteSlice) throws(ContractError) -> ExampleBatch {
        let root = try object(value)
        var batch = ExampleBatch()
        batch.domain = try root.field("domain").domain(Place("domain"))
        batch.partition = Int(try root.field("partition").count(Place("partition")))
        batch.ordinal = try root.field("ordinal").count(Place("ordinal"))
        batch.head_version = try root.field("head_version").count(Place("head_version"))
        batch.release = try root.optional("release")?.id(Place("release"))
        batch.examples = try lists.pointee.readExamples(try root.list("examples"))
        return batch
    }

    public func deadLetter(_ value: ByteSlice) throws(ContractError) -> DeadLetter {
        let root = try object(value)
        let word = try root.field("reason").text(Place("reason"))
        guard let reason = DeadLetterReason(word) else {
            throw try root.field("reason").wrongValue(
                Place("reason"), "a reason of the closed list")
        }
        var letter = DeadLetter(
            reason, message: try root.field("message").text(Place("message")),
            topic: try root.field("topic").id(Place("topic")), key: nil, value: nil)
        letter.partition = (try root.optional("partition")?.count(Place("partition"))).map {
            Int($0)
        }
        letter.ordinal = try root.optional("ordinal")?.count(Place("ordinal"))
        letter.input = try root.optional("input")?.text(Place("input"))
        letter.line = try root.optional("line")?.count(Place("line"))
        if let key = root.optional("key_base64") {
            letter.key = try lists.pointee.readKey(key)
        }
        if let kept = root.optional("value_base64") {
            letter.value = try lists.pointee.readValue(kept)
        }
        letter.value_bytes = Int(try root.field("value_bytes").count(Place("value_bytes")))
        return letter
    }

    public func text(_ value: ByteSlice) throws(ContractError) -> TextRecord {
        let root = try object(value)
        var text = TextRecord()
        text.time_ms = try root.field("time_ms").time(Place("time_ms"))
        text.hash = try root.field("hash").hash(Place("hash"))
        text.text = try root.field("text").text(Place("text"))
        text.domain = try root.optional("domain")?.domain(Place("domain"))
        text.again = try root.optional("again")?.truth(Place("again")) ?? false
        return text
    }

    private func object(_ value: ByteSlice) throws(ContractError) -> JSONView {
        let root: JSONView
        do throws(JSONError) { root = try parser.parse(value) } catch { throw ContractError(error) }
        guard root.isObject else { throw .notAnObject(root) }
        return root
    }
}

extension JSONView {
    /// A member that must be there and not be null.
    fileprivate func field(_ name: StaticString, in parent: StaticString? = nil)
        throws(ContractError)
        -> JSONView
    {
        guard let value = optional(name) else {
            throw .missing(Place(parent, -1, name).path, in: "the record")
        }
        return value
    }

    /// A member; null counts as absent.
    fileprivate func optional(_ name: StaticString) -> JSONView? {
        guard let value = member(name), !value.isNull else { return nil }
        return value
    }

    fileprivate func list(_ name: StaticString) throws(ContractError) -> JSONView {
        let value = try field(name)
        guard value.isArray else { throw value.wrongType(Place(name), "a list") }
        return value
    }

    /// A member of element `index` of the list `list`.
    fileprivate func field(_ name: StaticString, _ list: StaticString, _ index: Int)
        throws(ContractError)
        -> JSONView
    {
        guard let value = optional(name) else {
            throw .missing(Place(list, index, name).path, in: "the record")
        }
        return value
    }
}

/// The reused memory of a `RecordReader`.
private struct RecordLists: ~Copyable {
    var rates = ReusedList<DecayedRate>()
    var topItems = ReusedList<TopItem>()
    var positions = ReusedList<PositionRate>()
    var examples = ReusedList<Example>()
    var dense = ReusedList<Double>()
    var hashed = ReusedList<HashedFeature>()
    /// Where the features of each example begin, until all of them are there.
    var starts = ReusedList<Int>()
    var key = ByteBuffer()
    var value = ByteBuffer()

    mutating func readRates(_ list: JSONView) throws(ContractError) -> BorrowedList<DecayedRate> {
        rates.removeAll()
        for (i, row) in list.elements.enumerated() {
            let name: StaticString = "rates"
            rates.append(
                DecayedRate(
                    half_life_s: try row.field("half_life_s", name, i).count(
                        Place(name, i, "half_life_s")),
                    impressions: try row.field("impressions", name, i).number(
                        Place(name, i, "impressions")),
                    clicks: try row.field("clicks", name, i).number(Place(name, i, "clicks")),
                    rate: try row.field("rate", name, i).number(Place(name, i, "rate"))))
        }
        return rates.list
    }

    mutating func readTopItems(_ list: JSONView) throws(ContractError) -> BorrowedList<TopItem> {
        topItems.removeAll()
        for (i, row) in list.elements.enumerated() {
            let name: StaticString = "top_items"
            topItems.append(
                TopItem(
                    item_id: try row.field("item_id", name, i).id(Place(name, i, "item_id")),
                    count: try row.field("count", name, i).number(Place(name, i, "count"))))
        }
        return topItems.list
    }

    mutating func readPositions(_ list: JSONView) throws(ContractError) -> BorrowedList<
        PositionRate
    > {
        positions.removeAll()
        for (i, row) in list.elements.enumerated() {
            let name: StaticString = "position"
            positions.append(
                PositionRate(
                    position: try row.field("position", name, i).position(
                        Place(name, i, "position")),
                    impressions: try row.field("impressions", name, i).number(
                        Place(name, i, "impressions")),
                    clicks: try row.field("clicks", name, i).number(Place(name, i, "clicks")),
                    bias: try row.field("bias", name, i).number(Place(name, i, "bias"))))
        }
        return positions.list
    }

    mutating func readExamples(_ list: JSONView) throws(ContractError) -> BorrowedList<Example> {
        examples.removeAll()
        dense.removeAll()
        hashed.removeAll()
        starts.removeAll()
        for (i, row) in list.elements.enumerated() {
            starts.append(dense.count)
            starts.append(hashed.count)
            examples.append(try readExample(row, i))
        }
        starts.append(dense.count)
        starts.append(hashed.count)
        for i in 0..<examples.count {
            examples[i].dense = dense.list(starts[2 * i], starts[2 * i + 2])
            examples[i].hashed = hashed.list(starts[2 * i + 1], starts[2 * i + 3])
        }
        return examples.list
    }

    private mutating func readExample(_ row: JSONView, _ i: Int) throws(ContractError) -> Example {
        let name: StaticString = "examples"
        var example = Example()
        example.impression_id = try row.field("impression_id", name, i)
            .id(Place(name, i, "impression_id"), limit: Limit.identityBytes)
        example.request_id = try row.optional("request_id")?.id(Place(name, i, "request_id"))
        example.time_ms = try row.field("time_ms", name, i).time(Place(name, i, "time_ms"))
        example.task = try row.field("task", name, i).task(Place(name, i, "task"))
        example.revision = Int(try row.field("revision", name, i).count(Place(name, i, "revision")))
        example.label = Int(
            try row.field("label", name, i).integer(Place(name, i, "label"), in: 0...1))
        example.prediction = try row.field("prediction", name, i).unit(Place(name, i, "prediction"))
        example.kept_share = try row.field("kept_share", name, i).share(
            Place(name, i, "kept_share"))
        example.learned = try row.optional("learned")?.truth(Place(name, i, "learned")) ?? true
        example.item = try row.field("item", name, i).hash(Place(name, i, "item"))
        example.user = try row.field("user", name, i).hash(Place(name, i, "user"))
        example.query = try row.optional("query")?.hash(Place(name, i, "query"))
        example.position = try row.optional("position")?.position(Place(name, i, "position"))
        let numbers = try row.field("dense", name, i)
        guard numbers.isArray else {
            throw numbers.wrongType(Place(name, i, "dense"), "a list of numbers")
        }
        for number in numbers.elements { dense.append(try number.number(Place(name, i, "dense"))) }
        let pairs = try row.field("hashed", name, i)
        guard pairs.isArray else {
            throw pairs.wrongType(Place(name, i, "hashed"), "a list of pairs")
        }
        for pair in pairs.elements {
            guard pair.isArray && pair.count == 2 else {
                throw pair.wrongType(Place(name, i, "hashed"), "a list of bucket and value")
            }
            hashed.append(
                HashedFeature(
                    bucket: Int(try pair[0].count(Place(name, i, "hashed"))),
                    value: try pair[1].number(Place(name, i, "hashed"))))
        }
        return example
    }

    mutating func readKey(_ text: JSONView) throws(ContractError) -> ByteSlice {
        key.removeAll()
        try RecordLists.decode(text, Place("key_base64"), into: &key)
        return key.slice
    }

    mutating func readValue(_ text: JSONView) throws(ContractError) -> ByteSlice {
        value.removeAll()
        try RecordLists.decode(text, Place("value_base64"), into: &value)
        return value.slice
    }

    private static func decode(_ text: JSONView, _ place: Place, into buffer: inout ByteBuffer)
        throws(ContractError)
    {
        guard let bytes = Base64.decode(try text.text(place)) else {
            throw text.wrongValue(place, "base64")
        }
        bytes.lend { buffer.append($0) }
    }
}
