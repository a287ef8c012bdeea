<?php

/*
 * The part of the PHP bridge that says what the classes of the package are. It
 * loads nothing of pfSense, so it works on a checkout as well, on any machine.
 *
 * To load a class is to run its code. So that is done by another PHP, as user nobody
 * where root asks, whose environment is empty and whose outputs go nowhere: it answers
 * on a descriptor of its own, and what it says is looked at before it is believed.
 * Files and names are never its own words.
 */

declare(strict_types=1);

namespace Dispatchd\Bridge;

/** How long one class may take to load, in seconds. */
const LOADING = 30;

/** How long what it says of itself may be, in bytes. */
const SAYING = 1 << 20;

/** What a class says of itself. */
function describe_class(string $class): array {
    $r = new \ReflectionClass($class);
    $values = $r->getDefaultProperties();
    $constructor = $r->getConstructor()?->getDeclaringClass()->getName() ?? 'RESTAPI\\Core';
    if (!str_starts_with($constructor, 'RESTAPI\\Core')) {
        // The package's document names the constructor as the place for them.
        try {
            $values = values_of(make($class)) + $values;
        } catch (\Throwable $e) {
            return ['unread' => 'its constructor cannot run here, so what it sets is not known: ' . $e->getMessage()];
        }
    }
    return [
        'kind' => $r->hasMethod('get_data_to_cache') ? 'cache' : 'dispatcher',
        'timeout' => $values['timeout'] ?? 0, 'max_queue' => $values['max_queue'] ?? 0, 'schedule' => $values['schedule'] ?? '',
        'required_packages' => array_values((array) ($values['required_packages'] ?? [])),
        'package_includes' => array_values((array) ($values['package_includes'] ?? [])),
    ];
}

/** The properties of an object, whoever may see them. */
function values_of(object $object): array {
    $values = [];
    foreach ((new \ReflectionClass($object))->getProperties() as $property) {
        if (!$property->isStatic() && $property->isInitialized($object)) {
            $values[$property->getName()] = $property->getValue($object);
        }
    }
    return $values;
}

/** describe-files: a line on descriptor 3 for each file. A fatal error ends it after its line. */
function describe_files(string $dir, array $files): void {
    $answers = fopen('php://fd/3', 'w');
    if ($answers === false) {
        throw new Refusal('descriptor 3: is not open', USAGE);
    }
    become_nobody();
    find_classes_in($dir);
    $current = '';
    $tell = static function (array $value) use (&$current, $answers): void {
        $line = json_encode(['file' => $current] + $value, JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR);
        $current = '';
        fwrite($answers, $line . "\n");
    };
    register_shutdown_function(static function () use (&$current, $tell): void {
        if ($current !== '') {
            $last = error_get_last();
            $tell(['error' => $last === null ? 'it exits when it is loaded' : strtok($last['message'], "\n") . " in {$last['file']}:{$last['line']}"]);
        }
    });
    ini_set('display_errors', '0'); // they are told in the line
    ini_set('log_errors', '0');
    ob_start(static fn (): string => '', 1);
    foreach ($files as $file) {
        $current = $file;
        try {
            load($file);
            $class = class_of($file);
            if (!class_exists($class, false)) {
                throw new Refusal("has no class $class", UNAVAILABLE);
            }
            $tell((new \ReflectionClass($class))->isInstantiable() ? describe_class($class) : []);
        } catch (\Throwable $e) {
            $tell(['error' => $e->getMessage() . ($e instanceof Refusal ? '' : " in {$e->getFile()}:{$e->getLine()}")]);
        }
    }
}

/** The class that a file has to have. */
function class_of(string $file): string {
    return 'RESTAPI\\' . basename(dirname($file)) . '\\' . basename($file, '.inc');
}

/** Gives up root's rights: a checkout's code is anybody's. */
function become_nobody(): void {
    if (\Dispatchd\user() !== 0) {
        return;
    }
    $nobody = function_exists('posix_getpwnam') ? posix_getpwnam('nobody') : false;
    if ($nobody === false || $nobody['uid'] === 0) {
        throw new Refusal('there is no user nobody, or PHP has no posix functions: classes are not run as root', UNAVAILABLE);
    }
    if (!posix_setgid($nobody['gid']) || !posix_initgroups('nobody', $nobody['gid']) || !posix_setuid($nobody['uid']) || posix_geteuid() === 0) {
        throw new Refusal('the rights of root cannot be given up', UNAVAILABLE);
    }
}

/** The directory RESTAPI of a checkout, or of what is installed. */
function package_dir(string $src): string {
    if ($src === '') {
        return dirname(package_loader());
    }
    foreach (['', '/RESTAPI', '/usr/local/pkg/RESTAPI', '/files/usr/local/pkg/RESTAPI', '/pfSense-pkg-RESTAPI/files/usr/local/pkg/RESTAPI'] as $below) {
        if (is_dir("$src$below/Dispatchers")) {
            return "$src$below";
        }
    }
    throw new Refusal("$src: neither the package's files nor a checkout of it", UNAVAILABLE);
}

/** A place that nobody can read with what is needed of the package, while it lives. */
final class Copy {
    public readonly string $dir;
    private string $root = '';

    /** @param string $from the directory RESTAPI */
    public function __construct(string $from) {
        if (\Dispatchd\user() !== 0) {
            $this->dir = realpath($from) ?: $from; // it is read from another directory
            return;
        }
        // Root's own files may lie where nobody else gets to, the bridge's too.
        $this->root = sys_get_temp_dir() . '/dispatchd-' . bin2hex(random_bytes(8));
        $nobody = function_exists('posix_getpwnam') ? posix_getpwnam('nobody') : false;
        if (!mkdir($this->root, 0o700) || $nobody !== false && !chgrp($this->root, $nobody['gid']) || !chmod($this->root, 0o750)) {
            throw new Refusal("{$this->root}: cannot be made", TEMPORARY);
        }
        $this->dir = "{$this->root}/RESTAPI";
        $this->copy($from, $this->dir);
        foreach (['bridge', 'classes', 'describe', 'import', 'Locks'] as $name) {
            $this->put(__DIR__ . "/$name.php", "{$this->root}/$name.php");
        }
        $this->copy(__DIR__ . '/lazy', "{$this->root}/lazy");
    }

    public function __destruct() {
        if ($this->root !== '') {
            $this->remove($this->root);
        }
    }

    /** The bridge that reads them. */
    public function bridge(): string {
        return ($this->root ?: __DIR__) . '/bridge.php';
    }

    private function copy(string $from, string $to): void {
        if (!mkdir($to, 0o755)) {
            throw new Refusal("$to: cannot be made", TEMPORARY);
        }
        foreach (glob("$from/*") ?: [] as $path) {
            $name = basename($path);
            if (is_dir($path) && !is_link($path) && $name !== 'Tests') {
                $this->copy($path, "$to/$name");
            } elseif (is_file($path) && str_ends_with($name, '.inc')) {
                $this->put($path, "$to/$name");
            }
        }
    }

    /** Copies a file, and nothing that a link leads to: nobody is to read what is root's alone. */
    private function put(string $from, string $to): void {
        $is = lstat($from);
        $file = @fopen($from, 'rn');
        if ($file === false || $is === false || ($is['mode'] & 0o170000) !== 0o100000 || fstat($file)['ino'] !== $is['ino']) {
            return;
        }
        if (file_put_contents($to, $file) === false || !chmod($to, 0o644)) {
            throw new Refusal("$to: cannot be written", TEMPORARY);
        }
    }

    private function remove(string $path): void {
        foreach (glob("$path/*") ?: [] as $below) {
            is_dir($below) ? $this->remove($below) : @unlink($below);
        }
        @rmdir($path);
    }
}

/** Reads lines of a process, which may be no friend of ours. */
final class Answers {
    private string $rest = '';

    /** @param resource $pipe */
    public function __construct(private $pipe) {
        stream_set_blocking($pipe, false);
    }

    /** The next line; null where there is none, or none in time. */
    public function next(): ?string {
        $until = microtime(true) + LOADING;
        while (($end = strpos($this->rest, "\n")) === false) {
            $reads = [$this->pipe];
            $none = [];
            $left = $until - microtime(true);
            if ($left <= 0 || strlen($this->rest) > SAYING || !stream_select($reads, $none, $none, (int) $left, 100_000)) {
                return null;
            }
            $part = fread($this->pipe, 65536);
            if ($part === false || $part === '' && feof($this->pipe)) {
                return null;
            }
            $this->rest .= $part;
        }
        $line = substr($this->rest, 0, $end);
        $this->rest = substr($this->rest, $end + 1);
        return $line;
    }

    /** Why there is no line. */
    public function why(): string {
        if (strlen($this->rest) > SAYING) {
            return 'says too much of itself';
        }
        return feof($this->pipe) ? 'ends PHP without a word' : 'has not been read within ' . LOADING . ' s';
    }
}

/** Every class below a directory. One that does not load is named. */
function classes_of(string $dir): array {
    $copy = new Copy($dir);
    set_include_path(dirname($dir) . PATH_SEPARATOR . get_include_path());
    $all = ['classes' => [], 'broken' => [], 'unread' => []];
    $left = array_merge(glob("{$copy->dir}/Dispatchers/*.inc") ?: [], glob("{$copy->dir}/Caches/*.inc") ?: []);
    // Some errors end PHP itself: it is started again for the files behind.
    while ($left !== []) {
        $argv = array_merge([PHP_BINARY, '-d', 'include_path=' . dirname($copy->dir) . PATH_SEPARATOR . get_include_path(), '-f', $copy->bridge(), '--', 'describe-files', $copy->dir], $left);
        $null = ['file', '/dev/null', 'r+'];
        $process = proc_open($argv, [0 => $null, 1 => $null, 2 => $null, 3 => ['pipe', 'w']], $pipes, '/', ['PATH' => '/usr/bin:/bin']);
        if ($process === false) {
            throw new Refusal(PHP_BINARY . ': cannot be started', UNAVAILABLE);
        }
        $answers = new Answers($pipes[3]);
        do {
            $line = $answers->next();
            $file = (string) array_shift($left);
            $told = $line === null ? ['file' => $file, 'error' => $answers->why()] : json_decode($line, true);
            $told = is_array($told) && ($told['file'] ?? '') === $file ? $told : ['error' => 'says something of another class'];
            $told = judge($told, $dir . substr($file, strlen($copy->dir)), static fn (string $text): string => str_replace($copy->dir, $dir, $text));
            $all[isset($told['error']) ? 'broken' : (isset($told['unread']) ? 'unread' : 'classes')][] = $told;
        } while ($line !== null && !isset($told['error']) && $left !== []);
        proc_terminate($process, 9);
        proc_close($process);
    }
    // An abstract class is none that runs.
    $all['classes'] = array_values(array_filter($all['classes'], static fn (array $class): bool => isset($class['kind'])));
    return $all;
}

/**
 * What a class said of itself, if it is of the kind that it has to be.
 *
 * @param \Closure $here has a text speak of the package instead of its copy
 */
function judge(array $told, string $file, \Closure $here): array {
    $name = basename($file, '.inc');
    if (!preg_match('/^[A-Za-z][A-Za-z0-9_]{0,63}$/D', $name)) {
        return ['file' => dirname($file) . '/' . clean($name) . '.inc', 'error' => 'no dispatcher can have that name'];
    }
    foreach (['error', 'unread'] as $word) {
        if (isset($told[$word])) {
            return ['file' => $file, $word => clean(is_string($told[$word]) ? cut($here($told[$word]), 2000) : 'says no reason')];
        }
    }
    if (!isset($told['kind'])) {
        return ['file' => $file];
    }
    $good = in_array($told['kind'], ['cache', 'dispatcher'], true) && is_string($told['schedule'] ?? null);
    foreach (['timeout', 'max_queue'] as $number) {
        $good = $good && is_int($told[$number] ?? null) && $told[$number] >= 0;
    }
    foreach (['required_packages', 'package_includes'] as $list) {
        $good = $good && is_array($told[$list] ?? null) && array_filter($told[$list], static fn (mixed $v): bool => !is_string($v) || clean($v) !== $v) === [];
    }
    if (!$good || clean($told['schedule']) !== $told['schedule']) {
        return ['file' => $file, 'error' => 'has properties of another type than the package wants: timeout, max_queue, schedule, required_packages, package_includes'];
    }
    $found = static fn (string $include): array => ['name' => $include, 'path' => stream_resolve_include_path($include) ?: ''];
    return [
        'class' => class_of($file), 'name' => $name, 'file' => $file, 'kind' => $told['kind'], 'timeout' => $told['timeout'],
        'max_queue' => $told['max_queue'], 'schedule' => $told['schedule'], 'required_packages' => array_values($told['required_packages']),
        'package_includes' => array_map($found, array_values($told['package_includes'])),
    ];
}

/** A text without what drives a terminal, or begins another line of a file. */
function clean(string $text): string {
    return (string) preg_replace('/[\x00-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]/', '?', $text);
}

/** describe: every class of the package, as JSON. */
function describe(array $words): void {
    $src = '';
    if (str_starts_with($words[0] ?? '', '--src=')) {
        $src = substr(array_shift($words), strlen('--src='));
    }
    if ($words !== []) {
        throw new Refusal('usage: bridge.php describe [--src=DIR]', USAGE);
    }
    $dir = package_dir($src);
    print json_encode(['php' => PHP_VERSION, 'dir' => $dir] + classes_of($dir), JSON_UNESCAPED_SLASHES | JSON_PRETTY_PRINT | JSON_INVALID_UTF8_SUBSTITUTE) . "\n";
}
