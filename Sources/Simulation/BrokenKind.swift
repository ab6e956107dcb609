// The ways in which a record can be broken: a closed list, each certain to be a dead letter.

/// How a good line becomes one that nobody can use.
public enum BrokenKind: String, CaseIterable, Sendable {
    case torn, not_json, not_an_object, not_utf8, nul_byte, trailing_text, single_quotes,
        not_a_number
    case huge_number, repeated_member, deep_nesting, empty_object
    case no_time, no_domain, no_user, no_item, no_type
    case time_as_text, negative_time, time_far_ahead, unknown_type, foreign_tick, bad_domain_name
    case bad_position, bad_propensity, bad_grade, bad_slate_item, user_as_list

    /// The broken form of a line that is canonical JSON (an object with `time_ms`, `domain` and `type`).
    func `break`(_ line: [UInt8]) -> [UInt8] {
        let text = String(decoding: line, as: UTF8.self)
        switch self {
        case .torn: return Array(line.prefix(line.count * 2 / 3))
        case .not_json: return Array("this is not a record".utf8)
        case .not_an_object: return Array("[\(text)]".utf8)
        case .not_utf8: return withDomain(holding: 0xFF, in: text)
        case .nul_byte: return withDomain(holding: 0, in: text)
        case .trailing_text: return Array((text + "}").utf8)
        case .single_quotes: return line.map { $0 == UInt8(ascii: "\"") ? UInt8(ascii: "'") : $0 }
        case .not_a_number: return Array(text.replacingMember("time_ms", with: "NaN").utf8)
        case .huge_number: return Array(text.replacingMember("time_ms", with: "1e400").utf8)
        case .repeated_member: return Array((text.dropLast() + ",\"type\":\"click\"}").utf8)
        case .deep_nesting:
            let nested = String(repeating: "[", count: 500) + String(repeating: "]", count: 500)
            return Array((text.dropLast() + ",\"zz\":\(nested)}").utf8)
        case .empty_object: return Array("{}".utf8)
        case .no_time: return Array(text.removingMember("time_ms").utf8)
        case .no_domain: return Array(text.removingMember("domain").utf8)
        case .no_user:
            return Array(text.removingMember("user_id").removingMember("session_id").utf8)
        case .no_item:
            return Array(
                text.removingMember("item_id").removingMember("items").removingMember(
                    "impression_id"
                )
                .utf8)
        case .no_type: return Array(text.removingMember("type").utf8)
        case .time_as_text: return Array(text.replacingMember("time_ms", with: "\"noon\"").utf8)
        case .negative_time: return Array(text.replacingMember("time_ms", with: "-5").utf8)
        case .time_far_ahead:
            return Array(text.replacingMember("time_ms", with: "4102444800000").utf8)
        case .unknown_type: return Array(text.replacingMember("type", with: "\"hover\"").utf8)
        case .foreign_tick:
            return Array("{\"time_ms\":\(text.member("time_ms") ?? "0"),\"type\":\"tick\"}".utf8)
        case .bad_domain_name:
            return Array(text.replacingMember("domain", with: "\"Not a name!\"").utf8)
        case .bad_position: return with("\"position\":0", in: text)
        case .bad_propensity: return with("\"propensity\":1.5", in: text)
        case .bad_grade:
            return Array(example("judgment", in: text, "\"grade\":7,\"query\":\"q\"").utf8)
        case .bad_slate_item:
            return Array(
                example("impression", in: text, "\"id\":\"x\",\"items\":[{\"item_id\":\"p1\"},{}]")
                    .utf8)
        case .user_as_list: return with("\"user\":[1,2]", in: text)
        }
    }

    /// An impression of its own with one bad member.
    private func with(_ member: String, in text: String) -> [UInt8] {
        Array(example("impression", in: text, "\"id\":\"x\",\"item_id\":\"p1\",\(member)").utf8)
    }

    /// A record of the line's user, time and domain, with other members.
    private func example(_ type: String, in text: String, _ members: String) -> String {
        let time = text.member("time_ms") ?? "0"
        let domain = text.member("domain") ?? "\"feed\""
        let item = type == "judgment" ? ",\"item_id\":\"p1\"" : ""
        return
            "{\"domain\":\(domain),\"time_ms\":\(time),\"type\":\"\(type)\",\"user_id\":\"u1\""
            + "\(item),\(members)}"
    }

    /// The line with a domain that holds a byte which no text holds.
    private func withDomain(holding byte: UInt8, in text: String) -> [UInt8] {
        text.replacingMember("domain", with: "\"fe\u{07}d\"").utf8.map { $0 == 0x07 ? byte : $0 }
    }
}

/// Members of the outermost object of canonical JSON without escapes, as the simulation writes it.
extension String {
    fileprivate func member(_ name: String) -> String? {
        range(ofMember: name).map { String(self[$0.value]) }
    }

    fileprivate func replacingMember(_ name: String, with value: String) -> String {
        guard let range = range(ofMember: name) else {
            return dropLast() + ",\"\(name)\":\(value)}"
        }
        return self[..<range.value.lowerBound] + value + self[range.value.upperBound...]
    }

    fileprivate func removingMember(_ name: String) -> String {
        guard let range = range(ofMember: name) else { return self }
        var before = self[..<range.name]
        var after = self[range.value.upperBound...]
        if after.first == "," {
            after = after.dropFirst()
        } else if before.last == "," {
            before = before.dropLast()
        }
        return String(before + after)
    }

    /// Where a member's name begins, and its value.
    private func range(ofMember wanted: String) -> (name: Index, value: Range<Index>)? {
        var depth = 0
        var isInText = false
        var nameStart = startIndex
        var nameEnd = startIndex
        var valueStart: Index?
        var i = startIndex
        while i < endIndex {
            let character = self[i]
            if isInText {
                if character == "\"" {
                    isInText = false
                    if valueStart == nil { nameEnd = i }
                }
            } else if character == "\"" {
                isInText = true
                if depth == 1, valueStart == nil { nameStart = i }
            } else if character == ":", depth == 1, valueStart == nil {
                valueStart = index(after: i)
            } else if character == "{" || character == "[" {
                depth += 1
            } else if (character == "," && depth == 1) || (character == "}" && depth == 1) {
                if let start = valueStart, self[index(after: nameStart)..<nameEnd] == wanted {
                    return (nameStart, start..<i)
                }
                valueStart = nil
            } else if character == "}" || character == "]" {
                depth -= 1
            }
            i = index(after: i)
        }
        return nil
    }
}
