// Canonical JSON of the records of domain-log: members in byte order of their names.

import Bytes
import JSON

extension Impression {
    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        buffer.member("context", context)
        buffer.member("domain", domain)
        if !history.isEmpty { buffer.member("history", history) }
        buffer.member("impression_id", impression_id)
        buffer.member("item_id", item_id)
        buffer.member("kind", DomainLogKind.impression.word)
        buffer.member("ordinal", ordinal)
        buffer.member("policy", policy)
        buffer.member("position", position)
        buffer.member("propensity", propensity)
        buffer.member("query", hash: query)
        buffer.member("request_id", request_id)
        buffer.member("source", source)
        buffer.member("time_ms", time_ms)
        buffer.member("user", hash: user)
        buffer.member("user_attributes", user_attributes)
        buffer.member("user_clicks", user_clicks)
        buffer.member("user_impressions", user_impressions)
        buffer.closeObject()
    }
}

extension Label {
    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        buffer.member("click_time_ms", click_time_ms)
        buffer.member("domain", domain)
        buffer.member("impression_id", impression_id)
        buffer.member("kind", DomainLogKind.label.word)
        buffer.member("ordinal", ordinal)
        buffer.member("revision", revision)
        buffer.member("source", source)
        buffer.member("task", task.word)
        buffer.member("time_ms", time_ms)
        buffer.member("value", value)
        buffer.closeObject()
    }
}

extension Judgment {
    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        buffer.member("domain", domain)
        buffer.member("grade", grade)
        buffer.member("item_id", item_id)
        buffer.member("kind", DomainLogKind.judgment.word)
        buffer.member("ordinal", ordinal)
        buffer.member("query", hash: query)
        buffer.member("source", source)
        buffer.member("time_ms", time_ms)
        buffer.closeObject()
    }
}

extension Item {
    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        if !deleted {
            buffer.member("attributes", record.attributes)
            if !record.available { buffer.member("available", false) }
        } else {
            buffer.member("deleted", true)
        }
        if !deleted {
            buffer.member("description", record.description)
            if let domains = record.domains { buffer.member("domains", domains) }
            buffer.member("encoder", hash: vector?.encoder)
        }
        buffer.member("item_id", record.item_id)
        if !deleted && record.kind != .item { buffer.member("item_kind", record.kind.word) }
        buffer.member("kind", DomainLogKind.item.word)
        if !deleted {
            buffer.member("language", record.language)
            buffer.member("published_ms", record.published_ms)
            if !record.tags.isEmpty { buffer.member("tags", record.tags) }
        }
        buffer.member("time_ms", record.time_ms)
        if !deleted {
            buffer.member("title", record.title)
            buffer.member("vector", vector: vector)
        }
        buffer.closeObject()
    }
}

extension Text {
    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        buffer.member("encoder", hash: vector?.encoder)
        buffer.member("hash", hash: hash)
        buffer.member("kind", DomainLogKind.text.word)
        buffer.member("text", text)
        buffer.member("time_ms", time_ms)
        buffer.member("vector", vector: vector)
        buffer.closeObject()
    }
}

extension Prior {
    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        buffer.member("block", block)
        buffer.member("blocks", blocks)
        buffer.member("clicks", clicks)
        buffer.member("examples", examples)
        buffer.member("first_ordinal", first_ordinal)
        buffer.member("impressions", impressions)
        buffer.name("items")
        buffer.openArray()
        for item in items {
            buffer.openArray()
            buffer.element(item.item_id)
            buffer.element(item.impressions)
            buffer.element(item.clicks)
            if item.expected != 0 || item.content != 0 {
                buffer.element(item.expected)
                buffer.element(item.content)
            }
            buffer.closeArray()
        }
        buffer.closeArray()
        buffer.member("kind", DomainLogKind.prior.word)
        buffer.member("last_ordinal", last_ordinal)
        buffer.member("sender", sender)
        buffer.member("time_ms", time_ms)
        if !weights.isEmpty {
            buffer.name("weights")
            buffer.openObject()
            for named in weights {
                buffer.name(named.name)
                buffer.openArray()
                for value in named.values { buffer.element(value) }
                buffer.closeArray()
            }
            buffer.closeObject()
        }
        buffer.closeObject()
    }
}

extension Release {
    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        buffer.member("hash", hash)
        buffer.member("kind", DomainLogKind.release.word)
        buffer.name("ordinals")
        buffer.openArray()
        for ordinal in ordinals { buffer.element(ordinal) }
        buffer.closeArray()
        buffer.member("time_ms", time_ms)
        buffer.closeObject()
    }
}

extension SettingsRecord {
    /// - Precondition: `settings` is a JSON object in canonical bytes; it is written as it is.
    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        buffer.member("hash", hash)
        buffer.member("kind", DomainLogKind.settings.word)
        buffer.name("settings")
        buffer.append(settings)
        buffer.member("time_ms", time_ms)
        buffer.closeObject()
    }
}

extension Tick {
    public func append(to buffer: inout ByteBuffer) {
        buffer.openRecord()
        if close { buffer.member("close", true) }
        if !domains.isEmpty {
            buffer.name("domains")
            buffer.openObject()
            for counts in domains {
                buffer.name(counts.domain)
                buffer.openObject()
                buffer.member("dead", counts.dead)
                buffer.member("duplicates", counts.duplicates)
                buffer.member("late", counts.late)
                buffer.member("orphans", counts.orphans)
                buffer.closeObject()
            }
            buffer.closeObject()
        }
        buffer.member("kind", DomainLogKind.tick.word)
        buffer.member("ordinal", ordinal)
        buffer.member("source", source)
        buffer.member("time_ms", time_ms)
        buffer.closeObject()
    }
}
