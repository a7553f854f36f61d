// Sketches by Apache DataSketches for Java: `make FOLDER` writes them, `check FOLDER` reads another's.
// Files, items and checks are those of sketch_bytes.py, and Bloom filters, which Python has not.

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongConsumer;
import org.apache.datasketches.common.ArrayOfStringsSerDe;
import org.apache.datasketches.filters.bloomfilter.BloomFilter;
import org.apache.datasketches.filters.bloomfilter.BloomFilterBuilder;
import org.apache.datasketches.frequencies.ItemsSketch;
import org.apache.datasketches.hll.HllSketch;
import org.apache.datasketches.hll.TgtHllType;
import org.apache.datasketches.kll.KllDoublesSketch;
import org.apache.datasketches.memory.Memory;
import org.apache.datasketches.tdigest.TDigestDouble;
import org.apache.datasketches.theta.CompactSketch;
import org.apache.datasketches.theta.SetOperation;
import org.apache.datasketches.theta.UpdateSketch;

final class SketchBytes {
  static final long[] COUNTS = {0, 1, 10, 1000, 50_000};
  static final int LG_K = 12;
  static final long BLOOM_BITS = 1 << 19;
  static final int BLOOM_HASHES = 5;
  static final long SEED = 9001;

  public static void main(String[] args) throws IOException {
    Path folder = Path.of(args[1]);
    switch (args[0]) {
      case "make" -> make(folder);
      case "check" -> check(folder);
      default -> throw new IllegalArgumentException("make FOLDER or check FOLDER");
    }
  }

  static void make(Path folder) throws IOException {
    for (long count : COUNTS) {
      for (String items : List.of("longs", "strings")) {
        write(folder, "hll-" + items + "-" + count, hll(items, 0, count).toCompactByteArray());
        write(folder, "theta-" + items + "-" + count, theta(items, 0, count).toByteArray());
        write(folder, "bloom-" + items + "-" + count, bloom(items, 0, count).toByteArray());
      }
      write(folder, "kll-doubles-" + count, kll(0, count).toByteArray());
      write(folder, "tdigest-doubles-" + count, tdigest(0, count).toByteArray());
      write(folder, "frequent-strings-" + count, frequent(0, count).toByteArray(new ArrayOfStringsSerDe()));
    }
  }

  static void write(Path folder, String name, byte[] bytes) throws IOException {
    Files.write(folder.resolve(name + ".bin"), bytes);
  }

  static HllSketch hll(String items, long first, long end) {
    HllSketch sketch = new HllSketch(LG_K, TgtHllType.HLL_6);
    feed(items, first, end, sketch::update, sketch::update);
    return sketch;
  }

  static CompactSketch theta(String items, long first, long end) {
    UpdateSketch sketch = UpdateSketch.builder().setNominalEntries(1 << LG_K).build();
    feed(items, first, end, sketch::update, sketch::update);
    return sketch.compact();
  }

  static BloomFilter bloom(String items, long first, long end) {
    BloomFilter filter = BloomFilterBuilder.createBySize(BLOOM_BITS, BLOOM_HASHES, SEED);
    feed(items, first, end, filter::update, filter::update);
    return filter;
  }

  static KllDoublesSketch kll(long first, long end) {
    KllDoublesSketch sketch = KllDoublesSketch.newHeapInstance(200);
    for (long i = first; i < end; i++) sketch.update((double) i);
    return sketch;
  }

  static TDigestDouble tdigest(long first, long end) {
    TDigestDouble sketch = new TDigestDouble((short) 200);
    for (long i = first; i < end; i++) sketch.update((double) i);
    return sketch;
  }

  static ItemsSketch<String> frequent(long first, long end) {
    ItemsSketch<String> sketch = new ItemsSketch<>(64);
    for (long i = first; i < end; i++) sketch.update("item-" + (long) Math.sqrt((double) i));
    return sketch;
  }

  static void feed(String items, long first, long end, LongConsumer longs, java.util.function.Consumer<String> strings) {
    for (long i = first; i < end; i++) {
      if (items.equals("longs")) longs.accept(i);
      else strings.accept("item-" + i);
    }
  }

  static void check(Path folder) throws IOException {
    int checked = 0;
    List<Path> files;
    try (var listed = Files.list(folder)) {
      files = listed.sorted().toList();
    }
    for (Path file : files) {
      String name = file.getFileName().toString();
      if (!name.endsWith(".bin")) continue;
      String[] parts = name.substring(0, name.length() - 4).split("-");
      Memory bytes = Memory.wrap(Files.readAllBytes(file));
      long count = Long.parseLong(parts[2]);
      switch (parts[0]) {
        case "hll" -> checkHll(name, bytes, parts[1], count);
        case "theta" -> checkTheta(name, bytes, parts[1], count);
        case "bloom" -> checkBloom(name, bytes, parts[1], count);
        case "kll" -> checkKll(name, bytes, count);
        case "tdigest" -> checkTDigest(name, bytes, count);
        case "frequent" -> checkFrequent(name, bytes, count);
        default -> {
          continue;
        }
      }
      checked++;
    }
    if (checked < 5 * COUNTS.length) throw new AssertionError("too few files: " + checked);
    System.out.println("read and merged " + checked + " sketches of " + folder.getFileName());
  }

  static void checkHll(String what, Memory bytes, String items, long count) {
    HllSketch theirs = HllSketch.heapify(bytes);
    close(what, theirs.getCompositeEstimate(), hll(items, 0, count).getCompositeEstimate(), 1e-6 * count);
    double both = merged(theirs, hll(items, count / 2, count + 100));
    double whole = merged(hll(items, 0, count), hll(items, count / 2, count + 100));
    close(what + " merged", both, whole, 1e-6 * (count + 100));
  }

  static double merged(HllSketch left, HllSketch right) {
    var union = new org.apache.datasketches.hll.Union(LG_K);
    union.update(left);
    union.update(right);
    return union.getCompositeEstimate();
  }

  static void checkTheta(String what, Memory bytes, String items, long count) {
    CompactSketch theirs = CompactSketch.heapify(bytes);
    close(what, theirs.getEstimate(), count, count <= 1 << LG_K ? 0 : 0.06 * count);
    var union = SetOperation.builder().setNominalEntries(1 << LG_K).buildUnion();
    double both = union.union(theirs, theta(items, count / 2, count + 100)).getEstimate();
    close(what + " merged", both, count + 100, 0.06 * (count + 100));
  }

  static void checkBloom(String what, Memory bytes, String items, long count) {
    BloomFilter theirs = BloomFilter.heapify(bytes);
    BloomFilter ours = bloom(items, count, count + 100);
    ours.union(theirs);
    BloomFilter whole = bloom(items, 0, count + 100);
    if (ours.getBitsUsed() != whole.getBitsUsed()) throw new AssertionError(what + ": other bits");
    ours.intersect(whole);
    if (ours.getBitsUsed() != whole.getBitsUsed()) throw new AssertionError(what + ": other bits");
  }

  static void checkKll(String what, Memory bytes, long count) {
    KllDoublesSketch theirs = KllDoublesSketch.heapify(bytes);
    KllDoublesSketch ours = kll(count, 2 * count);
    ours.merge(theirs);
    if (ours.getN() != 2 * count) throw new AssertionError(what + ": n=" + ours.getN());
    for (double rank : count == 0 ? new double[0] : new double[] {0.01, 0.5, 0.99}) {
      close(what + " at " + rank, ours.getQuantile(rank), rank * 2 * count, 1 + 0.03 * 2 * count);
    }
  }

  static void checkTDigest(String what, Memory bytes, long count) {
    TDigestDouble theirs = TDigestDouble.heapify(bytes);
    TDigestDouble ours = tdigest(count, 2 * count);
    ours.merge(theirs);
    if (ours.getTotalWeight() != 2 * count) throw new AssertionError(what + ": n=" + ours.getTotalWeight());
    for (double rank : count == 0 ? new double[0] : new double[] {0.01, 0.5, 0.99}) {
      close(what + " at " + rank, ours.getQuantile(rank), rank * 2 * count, 1 + 0.02 * 2 * count);
    }
  }

  static void checkFrequent(String what, Memory bytes, long count) {
    ItemsSketch<String> ours = frequent(count, 2 * count);
    ours.merge(ItemsSketch.getInstance(bytes, new ArrayOfStringsSerDe()));
    Map<String, Long> truth = new HashMap<>();
    for (long i = 0; i < 2 * count; i++) truth.merge("item-" + (long) Math.sqrt((double) i), 1L, Long::sum);
    truth.forEach((item, n) -> {
      if (ours.getLowerBound(item) > n || ours.getUpperBound(item) < n) throw new AssertionError(what + ": " + item);
    });
  }

  static void close(String what, double left, double right, double tolerance) {
    if (!(Math.abs(left - right) <= tolerance)) {
      throw new AssertionError(what + ": " + left + " and " + right + " differ by more than " + tolerance);
    }
  }
}
