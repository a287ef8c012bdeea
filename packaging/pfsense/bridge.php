<?php

/*
 * The PHP bridge of dispatchd: runs one class of \RESTAPI\Dispatchers\ or
 * \RESTAPI\Caches\, unmodified, as the child of one job.
 *
 *   php bridge.php run [--loader=package|lazy] CLASS [INCLUDE...]
 *   php bridge.php describe [--src=DIR]
 *   php bridge.php import --dir=DIR [--known=DIR] [--src=DIR]
 *
 * run reads the arguments as JSON from standard input: an object gives named
 * arguments, a list positional ones, an object with the keys 0, 1, ... both. It
 * calls process(), or get_data_to_cache() of a cache, whose data it prints as
 * JSON on standard output. What happened is told on descriptor 3, where the
 * daemon listens: {"result": ...}, or {"error": ...} with class, response_id,
 * code, message and trace.
 *
 * describe prints what every class says of itself, as JSON: timeout, max_queue,
 * schedule, packages, includes. It loads nothing of pfSense. import writes it
 * down as definitions, where there is none of that name yet.
 *
 * The exit status:
 *    0  done
 *   64  the bridge was called in a wrong way
 *   65  the arguments are no JSON, or not what the class takes
 *   69  there is no such class, or a package or file that it needs is missing
 *   70  the class failed: an exception
 *   75  not now: the class says so (503), or its data cannot be kept
 *   78  import: some files have no class that works
 *  255  a fatal error of PHP, or one that the class exits with itself
 *
 * Needs PHP 8.2 or later and no extension that is not always there.
 */

declare(strict_types=1);

namespace Dispatchd\Bridge;

use Dispatchd\PackageLock;

const USAGE = 64;
const DATA = 65;
const UNAVAILABLE = 69;
const SOFTWARE = 70;
const TEMPORARY = 75;
const FATAL = 255;

require_once __DIR__ . '/classes.php';
require_once __DIR__ . '/Locks.php';

/** What the daemon takes of an error, in bytes, with some room. */
const MAX_ERROR = 15000;

/** What it takes of a result. */
const MAX_RESULT = 64000;

/** How long a run may take that has waited, in seconds: as long as the package's default. */
const MORE = 300;

/** A reason of the bridge's own to end, with its exit status. */
final class Refusal extends \RuntimeException {
    public function __construct(string $message, int $status, public readonly string $response_id = '') {
        parent::__construct($message, $status);
    }
}

/** The pipe to the daemon: one JSON object a line on descriptor 3. */
final class Pipe {
    /** @var resource|null */
    private static $stream = null;

    /** Opens the pipe, where the daemon gave one. */
    public static function open(): void {
        if (getenv('DISPATCHD_PROGRESS_FD') === '3') {
            self::$stream = @fopen('php://fd/3', 'w') ?: null;
        }
    }

    /** The pipe as another PHP inherits it. */
    public static function descriptor(): array {
        return self::$stream === null ? [] : [3 => self::$stream];
    }

    /** Says a line. Without a daemon an error is for people, on standard error. */
    public static function say(string $name, array $value): void {
        $line = json_encode([$name => $value], JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR);
        if (self::$stream !== null) {
            @fwrite(self::$stream, $line . "\n");
            @fflush(self::$stream);
        }
        if ($name === 'error') {
            $id = $value['response_id'] === '' ? '' : " [{$value['response_id']}]";
            fwrite(STDERR, "{$value['class']}$id: {$value['message']}\n");
        }
    }
}

/** Everything that is known while a class runs; the end may come anywhere. */
final class Run {
    public bool $over = false;
    public string $class = '';
    private ?string $spare;
    private float $since;

    public function __construct(private Task $task) {
        $this->since = microtime(true);
        // A run that is out of memory can still say so.
        $this->spare = str_repeat('x', 256 << 10);
        register_shutdown_function($this->atExit(...));
    }

    /** Reports a fatal error, which nothing can catch, and a class that exits. */
    private function atExit(): void {
        $this->spare = null;
        if ($this->over) {
            return;
        }
        $last = error_get_last();
        $status = $last !== null && $last['type'] === E_COMPILE_ERROR ? $this->task->rescue($last['file']) : null;
        if ($status !== null) {
            exit($status);
        }
        $this->task->over();
        if ($last !== null && ($last['type'] & (E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR | E_USER_ERROR | E_RECOVERABLE_ERROR)) !== 0) {
            Pipe::say('error', [
                'class' => 'FatalError', 'response_id' => '', 'code' => FATAL, 'message' => cut(strtok($last['message'], "\n") ?: '', 4000),
                'file' => $last['file'], 'line' => $last['line'], 'trace' => [],
            ]);
            return;
        }
        Pipe::say('result', $this->summary() + ['exited' => true]);
    }

    /** What the result says of every run. */
    public function summary(): array {
        return [
            'class' => $this->class, 'seconds' => round(microtime(true) - $this->since, 3),
            'peak_bytes' => memory_get_peak_usage(true),
        ];
    }
}

/** Cuts a text to some bytes. */
function cut(string $text, int $most): string {
    return strlen($text) <= $most ? $text : substr($text, 0, $most) . '...';
}

/** The exit status that fits what was thrown. */
function status_of(\Throwable $e): int {
    if ($e instanceof Refusal) {
        return $e->getCode();
    }
    if (is_call_of_ours($e)) {
        return DATA;
    }
    // The package's own errors carry the status of an HTTP answer.
    $code = property_exists($e, 'response_id') ? (int) $e->getCode() : 0;
    return match (true) {
        $code === 424 => UNAVAILABLE,
        $code === 503 => TEMPORARY,
        $code >= 400 && $code < 500 => DATA,
        default => SOFTWARE,
    };
}

/** Reports whether the class refused the call itself, and so the arguments. */
function is_call_of_ours(\Throwable $e): bool {
    $caller = $e->getTrace()[0]['file'] ?? '';
    return ($e instanceof \TypeError && $caller === __FILE__) || ($e instanceof \Error && $e->getFile() === __FILE__);
}

/** What is told of an error. Arguments of calls are left out: they may be secret. */
function error_of(\Throwable $e): array {
    $trace = [];
    // The bridge's own reasons need no trace.
    foreach ($e instanceof Refusal ? [] : array_slice($e->getTrace(), 0, 40) as $frame) {
        $place = isset($frame['file']) ? $frame['file'] . ':' . ($frame['line'] ?? 0) . ' ' : '';
        $trace[] = $place . ($frame['class'] ?? '') . ($frame['type'] ?? '') . $frame['function'] . '()';
    }
    $id = $e->response_id ?? '';
    $error = [
        'class' => $e::class, 'response_id' => is_string($id) ? $id : '', 'code' => $e->getCode(),
        'message' => cut($e->getMessage(), 4000), 'file' => $e->getFile(), 'line' => $e->getLine(), 'trace' => $trace,
    ];
    if ($e->getPrevious() !== null) {
        $error['previous'] = $e->getPrevious()::class . ': ' . cut($e->getPrevious()->getMessage(), 1000);
    }
    while ($error['trace'] !== [] && strlen(json_encode($error, JSON_INVALID_UTF8_SUBSTITUTE) ?: '') > MAX_ERROR) {
        array_pop($error['trace']);
    }
    return $error;
}

/** The arguments from a JSON text, ready to be spread: positions before names. */
function arguments_of(string $json): array {
    if (trim($json) === '') {
        return [];
    }
    try {
        $value = json_decode($json, true, 512, JSON_THROW_ON_ERROR | JSON_BIGINT_AS_STRING);
    } catch (\JsonException $e) {
        throw new Refusal('arguments: ' . $e->getMessage(), DATA);
    }
    if (!is_array($value)) {
        return $value === null ? [] : [$value];
    }
    $positions = array_filter($value, is_int(...), ARRAY_FILTER_USE_KEY);
    ksort($positions);
    return array_values($positions) + array_filter($value, is_string(...), ARRAY_FILTER_USE_KEY);
}

/** Replaces a file by a rename: a reader sees the old data or the new. */
function replace(string $path, string $text): void {
    if (!is_dir(dirname($path))) {
        return; // nobody can read it there
    }
    $temp = dirname($path) . '/.' . basename($path) . '.' . getmypid();
    $file = @fopen($temp, 'w');
    $good = $file !== false && fwrite($file, $text) === strlen($text) && fflush($file) && @fsync($file);
    if ($file !== false) {
        fclose($file);
    }
    if (!$good || !@chmod($temp, 0o644) || !@rename($temp, $path)) {
        @unlink($temp);
        throw new Refusal("$path: " . (error_get_last()['message'] ?? 'cannot be written'), TEMPORARY);
    }
}

/** Has what is printed go to standard error. Standard output of a cache is data. */
function divert_output(): void {
    ob_start(static function (string $text): string {
        fwrite(STDERR, $text);
        return '';
    }, 1);
}

/** Ends that, and buffers that were begun since and forgotten. */
function end_diversion(): void {
    while (ob_get_level() > 0) {
        ob_end_flush();
    }
}

/** Prints the data of a cache, and gives it to the package's own readers. */
function refresh(object $cache): void {
    // The method is protected where the class did not open it.
    $data = (new \ReflectionMethod($cache, 'get_data_to_cache'))->invoke($cache);
    end_diversion();
    $json = json_encode($data, JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION | JSON_INVALID_UTF8_SUBSTITUTE | JSON_THROW_ON_ERROR);
    for ($at = 0; $at < strlen($json); $at += $n) {
        $n = fwrite(STDOUT, substr($json, $at, 1 << 20));
        if ($n === false || $n === 0) {
            throw new Refusal('standard output: cannot be written', TEMPORARY);
        }
    }
    if (method_exists($cache, 'get_file_path')) {
        replace($cache->get_file_path(), $json);
    }
}

/** run: one class, once. */
final class Task {
    private string $loader = 'package';
    private string $name;
    private string $json;
    private array $arguments;
    private ?PackageLock $lock = null;
    private bool $loaded = false;
    private string $waitsFor = '';
    private float $asked = 0.0;
    private Run $run;

    /** @param array $includes the words of the command line, then the files alone */
    public function __construct(private array $includes) {
        if (str_starts_with($this->includes[0] ?? '', '--loader=')) {
            $this->loader = substr(array_shift($this->includes), strlen('--loader='));
        }
        $this->name = array_shift($this->includes) ?? '';
        if ($this->name === '' || !in_array($this->loader, ['package', 'lazy'], true)) {
            throw new Refusal('usage: bridge.php run [--loader=package|lazy] CLASS [INCLUDE...]', USAGE);
        }
        $this->json = (string) stream_get_contents(STDIN);
        $this->arguments = arguments_of($this->json);
        $this->run = new Run($this);
        divert_output(); // it may become a cache
        $this->lock();
    }

    /**
     * Takes the package's lock of the class, so that the package's own command waits,
     * and waits for it. It is taken before the classes are loaded and looked at again
     * behind that: who made the file meanwhile in a race with us is seen then.
     */
    private function lock(): void {
        // Nobody looks for one of a cache: see awaitRefresh().
        if (preg_match('/^\\\\?(?:RESTAPI\\\\Dispatchers\\\\)?(\w+)$/D', $this->name, $found) && stream_resolve_include_path("RESTAPI/Caches/$found[1].inc") === false) {
            $this->lock = PackageLock::take($found[1], (string) getenv('DISPATCHD_DISPATCHER'), $this->waiting(...));
        }
    }

    /**
     * Says who runs the class outside of the daemon. The time that this takes is none of
     * the run's: as long as it lasts, the daemon is asked for more.
     */
    private function waiting(string $holder): void {
        if ($this->waitsFor !== $holder) {
            fwrite(STDERR, "waiting for $holder, which runs {$this->name} outside of the daemon\n");
            $this->waitsFor = $holder;
        }
        $socket = (string) getenv('NOTIFY_SOCKET');
        if ($socket !== '' && microtime(true) - $this->asked > 1) {
            $this->asked = microtime(true);
            $to = @stream_socket_client("udg://$socket");
            $to && @fwrite($to, 'EXTEND_TIMEOUT_USEC=' . MORE * 1_000_000);
        }
    }

    /** The files to load first, one by one: each is known when those before are loaded. */
    public function files(): \Generator {
        if ($this->loader === 'package' && any_is_narrow(dirname(package_loader()))) {
            $this->loader = 'lazy';
        }
        if ($this->loader === 'lazy') {
            yield from lazy_files();
        } else {
            yield package_loader();
        }
        $this->loaded = true;
        foreach ($this->includes as $include) {
            if (stream_resolve_include_path($include) === false) {
                throw new Refusal("include $include: no such file", UNAVAILABLE, 'DISPATCHER_WITH_FAILED_INCLUDE');
            }
            yield $include;
        }
    }

    /** Runs the class, and tells how it went. */
    public function go(): void {
        $this->lock?->again($this->waiting(...));
        $this->run->class = find_class($this->name);
        $object = make($this->run->class);
        $returned = null;
        if (method_exists($object, 'get_data_to_cache')) {
            $this->awaitRefresh();
            refresh($object);
        } else {
            end_diversion();
            $returned = call($object, $this->arguments);
        }
        $this->lock?->release();
        $result = $this->run->summary() + ($returned === null ? [] : ['returned' => $returned]);
        if (strlen(json_encode($result, JSON_PARTIAL_OUTPUT_ON_ERROR) ?: '') > MAX_RESULT) {
            unset($result['returned']);
        }
        Pipe::say('result', $result);
        $this->over();
    }

    /** Waits for the package's own command, if it refreshes the cache just now. */
    private function awaitRefresh(): void {
        $name = (new \ReflectionClass($this->run->class))->getShortName();
        for (; ($by = PackageLock::refreshes($name)) !== null; usleep(100_000)) {
            $this->waiting($by);
        }
    }

    /** What the shutdown needs not tell any more. */
    public function over(): void {
        $this->run->over = true;
        $this->lock?->release();
    }

    /**
     * Where the package's loader fails for a class that is none of ours, the run is done
     * by another PHP that loads no more than it needs. Gives its exit status; null where
     * that would not help.
     */
    public function rescue(string $file): ?int {
        $class = basename($file, '.inc');
        if ($this->loaded || $this->loader !== 'package' || !preg_match('~/(?:Dispatchers|Caches)/[^/]+\.inc$~D', $file)
            || str_ends_with("\\{$this->name}", "\\$class")) {
            return null;
        }
        fwrite(STDERR, "$file does not load: classes are loaded as they are used\n");
        $this->over();
        end_diversion();
        $argv = [PHP_BINARY, '-d', 'include_path=' . get_include_path(), '-f', __FILE__, '--', 'run', '--loader=lazy', $this->name];
        $files = [0 => ['pipe', 'r'], 1 => STDOUT, 2 => STDERR] + Pipe::descriptor();
        $process = proc_open(array_merge($argv, $this->includes), $files, $pipes);
        if ($process === false) {
            return null;
        }
        @fwrite($pipes[0], $this->json);
        fclose($pipes[0]);
        return proc_close($process);
    }
}

/** Calls process(). Most classes return nothing. */
function call(object $object, array $arguments): mixed {
    return $object->process(...$arguments);
}

/** Calls a method that says for itself what it takes: see widened(). */
function call_with(\Closure $method, array $arguments): mixed {
    return $method(...$arguments);
}

/** Tells what was thrown, and gives the exit status. */
function failed(\Throwable $e, ?Task $task): int {
    $status = $e instanceof \ParseError ? $task?->rescue($e->getFile()) : null;
    if ($status !== null) {
        return $status;
    }
    Pipe::say('error', error_of($e));
    $task?->over();
    return status_of($e);
}

/** The command line. A task is what the global scope has to do with it. */
function main(array $words): ?Task {
    ini_set('display_errors', 'stderr');
    ini_set('html_errors', '0');
    Pipe::open();
    $verb = array_shift($words);
    if ($verb === 'run') {
        return new Task($words);
    }
    require_once __DIR__ . '/import.php';
    match ($verb) {
        'describe' => describe($words),
        'describe-files' => describe_files((string) array_shift($words), $words),
        'import' => import($words),
        default => throw new Refusal('usage: bridge.php run|describe|import ...', USAGE),
    };
    return null;
}

// The files of pfSense set variables that are meant to be global, so they are
// loaded here, where no function has variables of its own.
$dispatchd_task = null;
try {
    $dispatchd_task = main(array_slice($argv, 1));
    foreach ($dispatchd_task?->files() ?? [] as $dispatchd_file) {
        require_once $dispatchd_file;
    }
    $dispatchd_task?->go();
} catch (\Throwable $dispatchd_error) {
    exit(failed($dispatchd_error, $dispatchd_task));
}
