// DIN history: each clicked item is weighed by how it goes with the item at hand.

import Tensors

/// What the attention over histories keeps of a batch.
struct DinPass {
    /// Sorted row of each history entry.
    var row = UnsafeMutablePointer<Int32>(bitPattern: 64)!
    /// (T, d) the entries; (T, 4d) the inputs; (T, din_h) the hidden layer; (T) the weights.
    var entries = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var inputs = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var hidden = UnsafeMutablePointer<Float>(bitPattern: 64)!
    var weights = UnsafeMutablePointer<Float>(bitPattern: 64)!
}

extension Network {
    /// s = Σ_j w_j x_j with w_j = w2 relu(w1 [e; x_j; e - x_j; e * x_j] + b1) + b2, not normalised.
    ///
    /// - Source: specification, section 2.2; Zhou 2018 without the softmax.
    func dinForward(_ batch: Batch) {
        let d = configuration.d
        let hidden = configuration.din_h
        let T = batch.historyID.count
        var pass = DinPass()
        pass.row = arena.indices(T)
        pass.entries = arena.floats(T * d)
        pass.inputs = arena.floats(T * 4 * d)
        pass.hidden = arena.floats(T * hidden)
        pass.weights = arena.floats(T)
        let p = parameters.places
        for r in 0..<B {
            let original = Int(order[r])
            let item = encoded.item + r * d
            for j in Int(batch.historyOffsets[original])..<Int(batch.historyOffsets[original + 1]) {
                pass.row[j] = Int32(r)
                let entry = pass.entries + j * d
                let id = encoded.itemID.output + Int(encoded.historyPlace[j]) * d
                let text = Int(encoded.historyTextPlace[j])
                if text < 0 {
                    entry.update(from: id, count: d)
                } else {
                    Kernels.scale(entry, id, 0.5, count: d)
                    Kernels.addScaled(entry, encoded.itemText.output + text * d, 0.5, count: d)
                }
                let input = pass.inputs + j * 4 * d
                input.update(from: item, count: d)
                (input + d).update(from: entry, count: d)
                (input + 2 * d).update(from: item, count: d)
                Kernels.addScaled(input + 2 * d, entry, -1, count: d)
                Kernels.multiply(input + 3 * d, item, entry, count: d)
            }
        }
        if T > 0 {
            linearRows(
                Matrix(pass.hidden, T, hidden), Matrix(pass.inputs, T, 4 * d),
                Matrix(weight(p.din1), hidden, 4 * d))
            Kernels.addBiasRectify(
                pass.hidden, stride: hidden, rows: T, columns: hidden, bias: weight(p.dinB1))
        }
        for j in 0..<T {
            pass.weights[j] =
                Kernels.dot(pass.hidden + j * hidden, weight(p.din2), count: hidden)
                + weight(p.dinB2)[0]
        }
        for r in 0..<B {
            let original = Int(order[r])
            let first = Int(batch.historyOffsets[original])
            let last = Int(batch.historyOffsets[original + 1])
            let out = encoded.history + r * d
            if first == last {
                out.update(from: weight(p.historyNull), count: d)
                continue
            }
            out.update(repeating: 0, count: d)
            for j in first..<last {
                Kernels.addScaled(out, pass.entries + j * d, pass.weights[j], count: d)
            }
        }
        encoded.din = pass
    }

    /// From ds, (B, d), to the attention's tensors, the entries and `dei`, (B, d), accumulated.
    func dinBackward(
        _ batch: Batch, ds: UnsafeMutablePointer<Float>, dei: UnsafeMutablePointer<Float>
    ) {
        let d = configuration.d
        let H = configuration.din_h
        let T = batch.historyID.count
        let p = parameters.places
        let pass = encoded.din
        for r in 0..<B {
            let original = Int(order[r])
            if batch.historyOffsets[original] == batch.historyOffsets[original + 1] {
                Kernels.addScaled(gradient(p.historyNull), ds + r * d, 1, count: d)
            }
        }
        if T == 0 { return }
        let dhidden = arena.floats(T * H)
        let dinputs = arena.floats(T * 4 * d)
        let dentry = arena.floats(d)
        for j in 0..<T {
            let dweight = Kernels.dot(
                ds + Int(pass.row[j]) * d, pass.entries + j * d, count: d)
            Kernels.scale(dhidden + j * H, weight(p.din2), dweight, count: H)
            Kernels.addScaled(gradient(p.din2), pass.hidden + j * H, dweight, count: H)
            gradient(p.dinB2)[0] += dweight
        }
        Kernels.rectifyBackward(dhidden, pass.hidden, count: T * H)
        Kernels.addColumnSums(gradient(p.dinB1), dhidden, stride: H, rows: T, columns: H)
        Product.weights(
            Matrix(gradient(p.din1), H, 4 * d), Matrix(dhidden, T, H),
            Matrix(pass.inputs, T, 4 * d), accumulate: true)
        Product.back(
            Matrix(dinputs, T, 4 * d), Matrix(dhidden, T, H), Matrix(weight(p.din1), H, 4 * d))
        for j in 0..<T {
            let r = Int(pass.row[j])
            let entry = pass.entries + j * d
            let input = dinputs + j * 4 * d
            let item = encoded.item + r * d
            let de = dei + r * d
            Kernels.addScaled(de, input, 1, count: d)
            Kernels.addScaled(de, input + 2 * d, 1, count: d)
            Kernels.addProducts(de, input + 3 * d, entry, count: d)
            dentry.update(from: input + d, count: d)
            Kernels.addScaled(dentry, input + 2 * d, -1, count: d)
            Kernels.addProducts(dentry, input + 3 * d, item, count: d)
            Kernels.addScaled(dentry, ds + r * d, pass.weights[j], count: d)
            let text = Int(encoded.historyTextPlace[j])
            let share: Float = text < 0 ? 1 : 0.5
            Kernels.addScaled(
                encoded.itemID.gradient + Int(encoded.historyPlace[j]) * d, dentry, share, count: d)
            if text >= 0 {
                Kernels.addScaled(
                    encoded.itemText.gradient + text * d, dentry, share, count: d)
            }
        }
    }
}
