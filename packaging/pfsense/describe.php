<?php

/*
 * The part of the PHP bridge that says what the classes of the package are. It
 * makes no object of them and loads nothing of pfSense, so it works on a
 * checkout as well, on any machine.
 */

declare(strict_types=1);

namespace Dispatchd\Bridge;

/** What a class says of itself, read without making an object of it. */
function describe_class(string $class, string $file): array {
    $r = new \ReflectionClass($class);
    $values = $r->getDefaultProperties();
    $includes = [];
    foreach ((array) ($values['package_includes'] ?? []) as $name) {
        $includes[] = ['name' => $name, 'path' => stream_resolve_include_path($name) ?: ''];
    }
    return [
        'class' => $r->getName(), 'name' => $r->getShortName(), 'file' => $file,
        'kind' => $r->hasMethod('get_data_to_cache') ? 'cache' : 'dispatcher',
        'timeout' => (int) ($values['timeout'] ?? 0), 'max_queue' => (int) ($values['max_queue'] ?? 0),
        'schedule' => (string) ($values['schedule'] ?? ''),
        'required_packages' => array_values((array) ($values['required_packages'] ?? [])),
        'package_includes' => $includes,
    ];
}

/** describe-files: a line for each file. A fatal error ends it after its line. */
function describe_files(string $dir, array $files): void {
    find_classes_in($dir);
    $current = '';
    $tell = static function (array $value) use (&$current): void {
        $current = '';
        fwrite(STDOUT, json_encode($value, JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE) . "\n");
    };
    register_shutdown_function(static function () use (&$current, $tell): void {
        if ($current !== '') {
            $last = error_get_last();
            $tell(['file' => $current, 'error' => $last === null ? 'it exits when it is loaded' : strtok($last['message'], "\n")]);
        }
    });
    ini_set('display_errors', '0'); // they are told in the line
    ini_set('log_errors', '0');
    ob_start(static fn (): string => '', 1);
    foreach ($files as $file) {
        $current = $file;
        try {
            require_once $file;
            $class = 'RESTAPI\\' . basename(dirname($file)) . '\\' . basename($file, '.inc');
            if (!class_exists($class, false)) {
                throw new Refusal("has no class $class", UNAVAILABLE);
            }
            $tell((new \ReflectionClass($class))->isInstantiable() ? describe_class($class, $file) : ['file' => $file]);
        } catch (\Throwable $e) {
            $tell(['file' => $file, 'error' => $e->getMessage() . ($e instanceof Refusal ? '' : " in {$e->getFile()}:{$e->getLine()}")]);
        }
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

/** Every class below a directory. One that does not compile is named. */
function classes_of(string $dir): array {
    $left = array_merge(glob("$dir/Dispatchers/*.inc") ?: [], glob("$dir/Caches/*.inc") ?: []);
    $classes = $broken = [];
    // Some errors end PHP itself: it is started again for the files behind.
    while ($left !== []) {
        $path = 'include_path=' . dirname($dir) . PATH_SEPARATOR . get_include_path();
        $process = proc_open(array_merge([PHP_BINARY, '-d', $path, '-f', __DIR__ . '/bridge.php', '--', 'describe-files', $dir], $left), [1 => ['pipe', 'w']], $pipes);
        if ($process === false) {
            throw new Refusal(PHP_BINARY . ': cannot be started', UNAVAILABLE);
        }
        $lines = array_filter(explode("\n", (string) stream_get_contents($pipes[1])));
        proc_close($process);
        foreach ($lines ?: [json_encode(['error' => 'ends PHP without a word'])] as $line) {
            $told = json_decode($line, true) + ['file' => $left[0]];
            array_shift($left);
            isset($told['error']) ? $broken[] = $told : (isset($told['class']) ? $classes[] = $told : null);
        }
    }
    return ['classes' => $classes, 'broken' => $broken];
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
    print json_encode(['php' => PHP_VERSION, 'dir' => $dir] + classes_of($dir), JSON_UNESCAPED_SLASHES | JSON_PRETTY_PRINT) . "\n";
}
